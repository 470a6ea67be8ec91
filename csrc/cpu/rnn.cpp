#include "sparse_engine/rnn.h"

#include "activation.h"
#include "memory.h"
#include "panel.h"
#include "partition.h"
#include "row_product.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

// State of all neurons at one time step, as panels: [panel, neuron, W].
template <typename T, int W>
struct State {
  T* data;
  int64_t neurons;

  T* panel(int64_t q) const { return data + q * neurons * W; }
};

// What forward and backward share: the sizes, and how a time step is cut into tiles.
template <typename T, int L, int NV>
struct Sequence {
  static constexpr int W = L * NV;
  int64_t hidden, batch, panels;

  int64_t state_size() const { return panels * hidden * W; }
  int columns(int64_t q) const {
    return static_cast<int>(std::min<int64_t>(W, batch - q * W));
  }
  // Panel q of step t of a [steps, batch, hidden] array.
  template <typename U>
  Dense<U> step(U* array, int64_t t, int64_t q) const {
    return {array + (t * batch + q * W) * hidden, 1, hidden};
  }
  void read(const Team& team, const T* array, int64_t t, const State<T, W>& state) const {
    for (int64_t q = 0; q < panels; ++q)
      pack<T, W>(team, step(array, t, q), hidden, columns(q), state.panel(q));
  }
  bool exceeds_l2() const { return hidden * W * static_cast<int64_t>(sizeof(T)) > l2_bytes(); }

  // body(panel, first row, number of rows) for every tile of `rows`.
  template <class Body>
  SE_INLINE void tiles(const Rows& rows, const Body& body) const {
    for (int64_t q = 0; q < panels; ++q)
      for (int64_t first = rows.first; first < rows.last; first += kBlock)
        body(q, first, static_cast<int>(std::min<int64_t>(kBlock, rows.last - first)));
  }
};

int threads_for(int threads, const Csr& w, int64_t batch) {
  constexpr int64_t kWorkPerNeuron = 8;  // activation and transposition, in multiply-adds
  return useful_threads(threads, (w.nnz() + w.rows * kWorkPerNeuron) * batch);
}

template <typename T, int L, int NV, class Act>
void forward(const RnnForward<T>& a, const Panels& panels) {
  constexpr int W = L * NV;
  const Sequence<T, L, NV> seq{a.w.rows, a.batch, panels.count};
  Scratch scratch(2 * Scratch::bytes_of<T>(seq.state_size()));
  const State<T, W> even{scratch.take<T>(seq.state_size()), seq.hidden};
  const State<T, W> odd{scratch.take<T>(seq.state_size()), seq.hidden};
  const RowProduct<T, L, NV> product{a.w, a.values, seq.exceeds_l2()};

  run_team(threads_for(a.threads, a.w, a.batch), [&](const Team& team) {
    State<T, W> before = even, after = odd;
    const Rows rows = rows_of(a.w, team.rank, team.size, kBlock);
    if (a.h0) seq.read(team, a.h0, 0, before);
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
        T* tile = after.panel(q) + first * W;
        read_tile<T, W>(seq.step(a.z, t, q), first, count, seq.columns(q), tile);
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sum[NV];
          for (int v = 0; v < NV; ++v)
            sum[v] = load<T, L>(tile + r * W + v * L) + (a.bias ? a.bias[first + r] : T(0));
          if (t > 0 || a.h0) product(sum, first + r, before.panel(q));
          for (int v = 0; v < NV; ++v)
            store<T, L>(tile + r * W + v * L, Act::template of<T, L>(sum[v]));
        }
        write_tile<T, W>(tile, seq.step(a.h, t, q), first, count, seq.columns(q));
      });
      team.barrier();
      std::swap(before, after);
    }
  });
}

template <typename T, int L, int NV, class Act>
void backward(const RnnBackward<T>& a, const Panels& panels) {
  constexpr int W = L * NV;
  const Sequence<T, L, NV> seq{a.w.rows, a.batch, panels.count};
  Scratch scratch(2 * Scratch::bytes_of<T>(seq.state_size()) +
                  Scratch::bytes_of<T>(a.w.nnz()));
  const State<T, W> even{scratch.take<T>(seq.state_size()), seq.hidden};
  const State<T, W> odd{scratch.take<T>(seq.state_size()), seq.hidden};
  T* values = scratch.take<T>(a.w.nnz());
  const RowProduct<T, L, NV> product{a.wt, values, seq.exceeds_l2()};

  run_team(threads_for(a.threads, a.w, a.batch), [&](const Team& team) {
    State<T, W> later = even, now = odd;  // dz_{t+1} and dz_t
    permute(team, a.values, a.permutation, a.w.nnz(), values);
    team.barrier();
    const Rows rows = rows_of(a.wt, team.rank, team.size, kBlock);
    std::fill(a.dbias + rows.first, a.dbias + rows.last, T(0));
    alignas(64) T h[kBlock * W];
    for (int64_t t = a.steps - 1; t >= 0; --t) {
      seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
        T* tile = now.panel(q) + first * W;
        read_tile<T, W>(seq.step(a.dh, t, q), first, count, seq.columns(q), tile);
        read_tile<T, W>(seq.step(a.h, t, q), first, count, seq.columns(q), h);
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sum[NV];
          for (int v = 0; v < NV; ++v) sum[v] = load<T, L>(tile + r * W + v * L);
          if (t + 1 < a.steps) product(sum, first + r, later.panel(q));
          Vec<T, L> over_batch = {};
          for (int v = 0; v < NV; ++v) {
            sum[v] = sum[v] * Act::template slope<T, L>(load<T, L>(h + r * W + v * L));
            store<T, L>(tile + r * W + v * L, sum[v]);
            over_batch += sum[v];
          }
          a.dbias[first + r] += sum_of_lanes<T, L>(over_batch);
        }
        write_tile<T, W>(tile, seq.step(a.dz, t, q), first, count, seq.columns(q));
      });
      team.barrier();
      std::swap(later, now);
    }
    if (a.dh0 == nullptr) return;
    seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
      alignas(64) T tile[kBlock * W];
      for (int r = 0; r < count; ++r) {
        Vec<T, L> sum[NV] = {};
        product(sum, first + r, later.panel(q));
        for (int v = 0; v < NV; ++v) store<T, L>(tile + r * W + v * L, sum[v]);
      }
      write_tile<T, W>(tile, seq.step(a.dh0, 0, q), first, count, seq.columns(q));
    });
  });
}

}  // namespace

template <class Isa, typename T>
void rnn_forward(const RnnForward<T>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    with_activation(a.activation, [&](auto act) {
      forward<T, decltype(lanes)::value, decltype(vectors)::value, decltype(act)>(a, panels);
    });
  });
}

template <class Isa, typename T>
void rnn_backward(const RnnBackward<T>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    with_activation(a.activation, [&](auto act) {
      backward<T, decltype(lanes)::value, decltype(vectors)::value, decltype(act)>(a, panels);
    });
  });
  if (a.dvalues == nullptr) return;
  const auto weight_gradient = [&](const T* dz, const T* h, int64_t steps, bool accumulate) {
    const int64_t hidden = a.w.rows;
    sddmm<Isa, T>({a.w,
                   {dz, 1, hidden},
                   {h, 1, hidden},
                   steps * a.batch,
                   a.dvalues,
                   accumulate,
                   a.threads});
  };
  weight_gradient(a.dz + a.batch * a.w.rows, a.h, a.steps - 1, false);
  if (a.h0) weight_gradient(a.dz, a.h0, 1, true);
}

template void rnn_forward<SPARSE_ENGINE_ISA, float>(const RnnForward<float>&);
template void rnn_forward<SPARSE_ENGINE_ISA, double>(const RnnForward<double>&);
template void rnn_backward<SPARSE_ENGINE_ISA, float>(const RnnBackward<float>&);
template void rnn_backward<SPARSE_ENGINE_ISA, double>(const RnnBackward<double>&);

}  // namespace sparse_engine
