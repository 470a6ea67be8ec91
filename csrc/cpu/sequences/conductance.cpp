#include "sparse_engine/conductance.h"

#include "sequences/synapse.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {
namespace {

// Panel q of a [columns, features] array.
template <typename T, int W>
struct Rectangle {
  T* data;
  int64_t features;

  Dense<T> panel(int64_t q) const { return {data + q * W * features, 1, features}; }
};

template <typename T, int L, int NV>
void forward(const ConductanceForward<T>& a, int64_t panels) {
  constexpr int W = L * NV;
  const Rectangle<const T, W> x{a.x, a.w.cols};
  const Rectangle<T, W> current{a.current, a.w.rows}, conductance{a.conductance, a.w.rows};
  const int64_t work = (kWorkPerSynapse * a.w.nnz() + a.w.rows) * a.columns;
  const Job job = job_of(a.threads, work);
  constexpr int64_t kTile = kTileRows * W;
  Scratch scratch(2 * Scratch::bytes_of<T>(a.w.cols * W) +
                  Scratch::bytes_of<T>(job.threads * 2 * kTile));
  // Two panels take turns, so that one barrier for each is enough.
  T* packed[2] = {scratch.take<T>(a.w.cols * W), scratch.take<T>(a.w.cols * W)};
  T* tiles = scratch.take<T>(job.threads * 2 * kTile);
  const bool rows_ahead = fills_l2<T, W>(a.w.cols);

  run_team(job, [&](const Team& team) {
    const Rows rows = rows_of(a.w, team.rank, team.size, kBlock);
    T *currents = tiles + team.rank * 2 * kTile, *conductances = currents + kTile;
    for (int64_t q = 0; q < panels; ++q) {
      const int columns = static_cast<int>(std::min<int64_t>(W, a.columns - q * W));
      pack<T, W>(team, x.panel(q), a.w.cols, columns, packed[q % 2]);
      team.barrier();
      for (int64_t first = rows.first; first < rows.last; first += kTileRows) {
        const int count = static_cast<int>(std::min<int64_t>(kTileRows, rows.last - first));
        for (int r = 0; r < count; ++r) {
          Vec<T, L> i[NV] = {}, g[NV] = {};
          add_synapses<T, L, NV>(i, g, a.w, a.synapses, first + r, packed[q % 2], rows_ahead);
          for (int v = 0; v < NV; ++v) {
            store<T, L>(currents + r * W + v * L, i[v]);
            store<T, L>(conductances + r * W + v * L, g[v]);
          }
        }
        write_tile<T, W>(currents, current.panel(q), first, count, columns);
        write_tile<T, W>(conductances, conductance.panel(q), first, count, columns);
      }
    }
  });
}

template <typename T, int L, int NV>
void backward(const ConductanceBackward<T>& a, int64_t panels) {
  constexpr int W = L * NV;
  const int64_t sources = a.wt.rows, targets = a.wt.cols;
  const Rectangle<const T, W> x{a.x, sources};
  const Rectangle<const T, W> dcurrent{a.dcurrent, targets}, dconductance{a.dconductance, targets};
  const Rectangle<T, W> dx{a.dx, sources};
  const int64_t work = (2 * kWorkPerSynapse * a.wt.nnz() + sources) * a.columns;
  const Job job = job_of(a.threads, work);
  constexpr int64_t kTile = kTileRows * W;
  Scratch scratch(SynapseGradient<T, L, NV>::bytes(a.wt.nnz()) +
                  4 * Scratch::bytes_of<T>(targets * W) +
                  Scratch::bytes_of<T>(job.threads * kTile));
  const SynapseGradient<T, L, NV> gradient(a.wt, a.permutation, a.synapses, scratch);
  T *of_current[2], *of_conductance[2];
  for (T*& panel : of_current) panel = scratch.take<T>(targets * W);
  for (T*& panel : of_conductance) panel = scratch.take<T>(targets * W);
  T* tiles = scratch.take<T>(job.threads * kTile);

  run_team(job, [&](const Team& team) {
    const Rows rows = rows_of(a.wt, team.rank, team.size, kBlock);
    T* tile = tiles + team.rank * kTile;
    gradient.clear(rows);
    for (int64_t q = 0; q < panels; ++q) {
      const int columns = static_cast<int>(std::min<int64_t>(W, a.columns - q * W));
      pack<T, W>(team, dcurrent.panel(q), targets, columns, of_current[q % 2]);
      pack<T, W>(team, dconductance.panel(q), targets, columns, of_conductance[q % 2]);
      team.barrier();
      for (int64_t first = rows.first; first < rows.last; first += kTileRows) {
        const int count = static_cast<int>(std::min<int64_t>(kTileRows, rows.last - first));
        read_tile<T, W>(x.panel(q), first, count, columns, tile);
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sum[NV] = {};
          gradient.add(sum, first + r, tile + r * W, of_current[q % 2], of_conductance[q % 2]);
          for (int v = 0; v < NV; ++v) store<T, L>(tile + r * W + v * L, sum[v]);
        }
        write_tile<T, W>(tile, dx.panel(q), first, count, columns);
      }
    }
    gradient.finish(rows, a.gradients);
  });
}

}  // namespace

template <class Isa, typename T>
void conductance_forward(const ConductanceForward<T>& a) {
  with_panels<T, T>(a.columns, [&](auto lanes, auto vectors, int64_t panels) {
    forward<T, decltype(lanes)::value, decltype(vectors)::value>(a, panels);
  });
}

template <class Isa, typename T>
void conductance_backward(const ConductanceBackward<T>& a) {
  with_panels<T, T>(a.columns, [&](auto lanes, auto vectors, int64_t panels) {
    backward<T, decltype(lanes)::value, decltype(vectors)::value>(a, panels);
  });
}

template void conductance_forward<SPARSE_ENGINE_ISA>(const ConductanceForward<SPARSE_ENGINE_REAL>&);
template void conductance_backward<SPARSE_ENGINE_ISA>(
    const ConductanceBackward<SPARSE_ENGINE_REAL>&);

}  // namespace sparse_engine
