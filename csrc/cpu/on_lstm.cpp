#include "sparse_engine/on_lstm.h"

#include "adjoint.h"
#include "gated.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

constexpr int kMasters = 2, kGates = 4;  // in, forget; out, cell, in, forget

// Rows [first, first + rows) of w, whose links stay where they are.
inline Csr rows_from(const Csr& w, int64_t first, int64_t rows) {
  return {w.ptr + first, w.idx, rows, w.cols, w.ptr[first + rows]};
}

// The softmax over n rows of a panel.
template <typename T, int L, int NV>
inline void softmax(const T* x, int64_t n, T* p) {
  for (int v = 0; v < NV; ++v) {
    Vec<T, L> most = load<T, L>(x + v * L), total = {};
    for (int64_t at = v * L; at < n * L * NV; at += L * NV) {
      const Vec<T, L> here = load<T, L>(x + at);
      most = here > most ? here : most;
    }
    for (int64_t at = v * L; at < n * L * NV; at += L * NV) {
      const Vec<T, L> e = Exp::of_negative<T, L>(load<T, L>(x + at) - most);
      store<T, L>(p + at, e);
      total += e;
    }
    for (int64_t at = v * L; at < n * L * NV; at += L * NV)
      store<T, L>(p + at, load<T, L>(p + at) / total);
  }
}

// Both masters of a panel, from the softmax of each: one minus its cumulative sums for the first,
// the sums themselves for the second.
template <typename T, int L, int NV>
inline void masters_of(const T* p, int64_t chunks, T* masters) {
  constexpr int W = L * NV;
  for (int v = 0; v < NV; ++v) {
    Vec<T, L> in = {}, forget = {};
    for (int64_t at = v * L; at < chunks * W; at += W) {
      in += load<T, L>(p + at);
      forget += load<T, L>(p + chunks * W + at);
      store<T, L>(masters + at, T(1) - in);
      store<T, L>(masters + chunks * W + at, forget);
    }
  }
}

// From the gradients of cumulative sums, one for each of the units that share a sum, to those of
// the softmax's arguments.
template <typename T, int L, int NV>
inline void cumsoftmax_backward(const T* p, const T* dsums, int64_t chunks, int64_t chunk, T* dx) {
  constexpr int W = L * NV;
  for (int v = 0; v < NV; ++v) {
    Vec<T, L> later = {}, mean = {};
    for (int64_t k = chunks - 1; k >= 0; --k) {
      for (int64_t unit = k * chunk; unit < (k + 1) * chunk; ++unit)
        later += load<T, L>(dsums + unit * W + v * L);
      mean += later * load<T, L>(p + k * W + v * L);
      store<T, L>(dx + k * W + v * L, later);
    }
    for (int64_t at = v * L; at < chunks * W; at += W)
      store<T, L>(dx + at, load<T, L>(p + at) * (load<T, L>(dx + at) - mean));
  }
}

// One unit and the masters of its chunk.
template <typename T, int L>
struct Neuron {
  Vec<T, L> o, g, i, f, master_i, master_f;

  SE_INLINE Vec<T, L> both() const { return master_i * master_f; }
  SE_INLINE Vec<T, L> input() const { return i * both() + (master_i - both()); }
  SE_INLINE Vec<T, L> forget() const { return f * both() + (master_f - both()); }
};

template <typename T, int L, int NV>
void forward_loop(const OnLstmForward<T>& a, int64_t panels) {
  constexpr int W = L * NV;
  const int64_t hidden = a.w.cols, rows = a.w.rows, masters = kMasters * a.chunks;
  const int64_t chunk = hidden / a.chunks;
  const Csr gates = rows_from(a.w, masters, kGates * hidden);
  const Sequence<T, W> seq{a.batch, panels};
  const int threads = threads_for_step(a.threads, a.w.nnz(), rows, a.batch);
  Scratch scratch(Ring<T, W>::bytes(2, hidden, panels) + Ring<T, W>::bytes(1, hidden, panels) +
                  Ring<T, W>::bytes(1, masters, panels) +
                  Ring<T, W>::bytes(2 * threads, masters, panels) +
                  Scratch::bytes_of<T>(threads * kGates * kGateTile<W>));
  const Ring<T, W> h(scratch, 2, hidden, panels);
  const State<T, W> c = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const State<T, W> u = Ring<T, W>(scratch, 1, masters, panels).at(0);
  const Ring<T, W> of_members(scratch, 2 * threads, masters, panels);
  T* tiles = scratch.take<T>(threads * kGates * kGateTile<W>);
  const RowProduct<T, L, NV> product{a.w, {a.values}, ahead_of<T, W>(a.w)};

  run_team(threads, [&](const Team& team) {
    const Rows units = units_of(gates, kGates, team.rank, team.size, kBlock);
    const Rows own = rows_of(rows_from(a.w, 0, masters), team.rank, team.size, kBlock);
    const State<T, W> p = of_members.at(2 * team.rank), master = of_members.at(2 * team.rank + 1);
    T* tile = tiles + team.rank * kGates * kGateTile<W>;
    // sum = x + b + W h, for the row whose x is at `x`
    const auto sum_of_row = [&](const T* x, int64_t row, const T* before, Vec<T, L>(&sum)[NV]) {
      for (int v = 0; v < NV; ++v) sum[v] = load<T, L>(x + v * L) + (a.bias ? a.bias[row] : T(0));
      product(sum, row, before);
    };
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.h0, h.at(-1), q, first, count);
      read_initial(seq, a.c0, c, q, first, count);
    });
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      const State<T, W> before = h.at(t - 1), now = h.at(t);
      seq.tiles(own, [&](int64_t q, int64_t first, int count) {
        read_tile<T, W>(seq.step(a.x, rows, t, q), first, count, seq.columns(q), tile);
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sum[NV];
          sum_of_row(tile + r * W, first + r, before.panel(q), sum);
          for (int v = 0; v < NV; ++v) store<T, L>(u.row(q, first + r) + v * L, sum[v]);
        }
      });
      team.barrier();
      // Every member takes the softmax for itself: it is little work, and saves a barrier.
      for (int64_t q = 0; q < panels; ++q) {
        for (int gate = 0; gate < kMasters; ++gate)
          softmax<T, L, NV>(u.row(q, gate * a.chunks), a.chunks, p.row(q, gate * a.chunks));
        masters_of<T, L, NV>(p.panel(q), a.chunks, master.panel(q));
      }
      if (a.saved)
        seq.tiles(own, [&](int64_t q, int64_t first, int count) {
          write_tile<T, W>(p.row(q, first), seq.step(a.saved, rows, t, q), first, count,
                           seq.columns(q));
        });
      seq.tiles(units, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        for (int g = 0; g < kGates; ++g)
          read_tile<T, W>(seq.step(a.x, rows, t, q), masters + g * hidden + first, count, columns,
                          tile + g * kGateTile<W>);
        for (int r = 0; r < count; ++r) {
          const int64_t unit = first + r;
          Vec<T, L> sums[kGates][NV];
          for (int g = 0; g < kGates; ++g) {
            Vec<T, L> sum[NV];
            sum_of_row(tile + g * kGateTile<W> + r * W, masters + g * hidden + unit,
                       before.panel(q), sum);
            for (int v = 0; v < NV; ++v) sums[g][v] = sum[v];
          }
          for (int v = 0; v < NV; ++v) {
            const Neuron<T, L> neuron{Sigmoid::of<T, L>(sums[0][v]),
                                      Tanh::of<T, L>(sums[1][v]),
                                      Sigmoid::of<T, L>(sums[2][v]),
                                      Sigmoid::of<T, L>(sums[3][v]),
                                      load<T, L>(master.row(q, unit / chunk) + v * L),
                                      load<T, L>(master.row(q, a.chunks + unit / chunk) + v * L)};
            T* memory = c.row(q, unit) + v * L;
            const Vec<T, L> cell = neuron.forget() * load<T, L>(memory) + neuron.input() * neuron.g;
            store<T, L>(memory, cell);
            store<T, L>(now.row(q, unit) + v * L, neuron.o * Tanh::of<T, L>(cell));
            const Vec<T, L> saved[] = {neuron.o, neuron.g, neuron.i, neuron.f};
            for (int g = 0; g < kGates; ++g)
              store<T, L>(tile + g * kGateTile<W> + r * W + v * L, saved[g]);
          }
        }
        write_tile<T, W>(now.row(q, first), seq.step(a.h, hidden, t, q), first, count, columns);
        if (a.c)
          write_tile<T, W>(c.row(q, first), seq.step(a.c, hidden, t, q), first, count, columns);
        if (t + 1 == a.steps)
          write_tile<T, W>(c.row(q, first), seq.step(a.c_n, hidden, 0, q), first, count, columns);
        if (a.saved)
          for (int g = 0; g < kGates; ++g)
            write_tile<T, W>(tile + g * kGateTile<W>, seq.step(a.saved, rows, t, q),
                             masters + g * hidden + first, count, columns);
      });
      team.barrier();
    }
  });
}

template <typename T, int L, int NV>
void backward_loop(const OnLstmBackward<T>& a, int64_t panels) {
  constexpr int W = L * NV;
  using Back = Adjoint<T, L, NV>;
  constexpr int64_t kTile = (kGates + 1) * kGateTile<W>;  // what was saved, and the gradient of h
  const int64_t hidden = a.w.cols, rows = a.w.rows, masters = kMasters * a.chunks;
  const int64_t chunk = hidden / a.chunks;
  const Sequence<T, W> seq{a.batch, panels};
  const int threads = threads_for_step(a.threads, a.w.nnz(), rows, a.batch);
  Scratch scratch(Ring<T, W>::bytes(2, rows, panels) + Ring<T, W>::bytes(2, hidden, panels) +
                  Ring<T, W>::bytes(2, hidden, panels) + Ring<T, W>::bytes(1, hidden, panels) +
                  Ring<T, W>::bytes(1, kMasters * hidden, panels) +
                  Ring<T, W>::bytes(2 * threads, masters, panels) +
                  Scratch::bytes_of<T>(Back::needs(a.wt)) + Scratch::bytes_of<T>(rows * L) +
                  Scratch::bytes_of<T>(threads * kTile));
  const Ring<T, W> du(scratch, 2, rows, panels);
  const Ring<T, W> h(scratch, 2, hidden, panels);
  const Ring<T, W> c(scratch, 2, hidden, panels);
  const State<T, W> carried = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  // What each unit adds to the gradients of the cumulative sums of its chunk.
  const State<T, W> dsums = Ring<T, W>(scratch, 1, kMasters * hidden, panels).at(0);
  const Ring<T, W> of_members(scratch, 2 * threads, masters, panels);
  const Back back(a.wt, a.permutation, a.dvalues, scratch.take<T>(Back::needs(a.wt)));
  T* bias_sums = scratch.take<T>(rows * L);
  T* tiles = scratch.take<T>(threads * kTile);

  run_team(threads, [&](const Team& team) {
    const Rows units = rows_of(a.wt, team.rank, team.size, kBlock);
    const State<T, W> p = of_members.at(2 * team.rank), master = of_members.at(2 * team.rank + 1);
    T *tile = tiles + team.rank * kTile, *dh_tile = tile + kGates * kGateTile<W>;
    // body(first row, end) for the rows of which this member adds up the gradient of the bias.
    const auto rows_of_bias = [&](const auto& body) {
      for (int gate = team.rank; gate < kMasters; gate += team.size)
        body(gate * a.chunks, (gate + 1) * a.chunks);
      for (int g = 0; g < kGates; ++g)
        body(masters + g * hidden + units.first, masters + g * hidden + units.last);
    };
    back.start(team, a.values, units);
    rows_of_bias([&](int64_t first, int64_t end) {
      std::fill(bias_sums + first * L, bias_sums + end * L, T(0));
    });
    // Step t of `array`, whose step -1 is `initial`.
    const auto read_state = [&](const T* array, const T* initial, const Ring<T, W>& to, int64_t t,
                                int64_t q, int64_t first, int count) {
      const T* from = t < 0 ? initial : array + t * a.batch * hidden;
      read_initial(seq, from, to.at(t), q, first, count);
    };
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.dc_n, carried, q, first, count);
      read_state(a.c, a.c0, c, a.steps - 1, q, first, count);
    });
    team.barrier();

    for (int64_t t = a.steps - 1; t >= 0; --t) {
      const State<T, W> later = du.at(t + 1), now = du.at(t);
      for (int64_t q = 0; q < panels; ++q) {
        read_tile<T, W>(seq.step(a.saved, rows, t, q), 0, static_cast<int>(masters), seq.columns(q),
                        p.panel(q));
        masters_of<T, L, NV>(p.panel(q), a.chunks, master.panel(q));
      }
      seq.tiles(units, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        read_state(a.h, a.h0, h, t - 1, q, first, count);
        read_state(a.c, a.c0, c, t - 1, q, first, count);
        for (int g = 0; g < kGates; ++g)
          read_tile<T, W>(seq.step(a.saved, rows, t, q), masters + g * hidden + first, count,
                          columns, tile + g * kGateTile<W>);
        read_tile<T, W>(seq.step(a.dh, hidden, t, q), first, count, columns, dh_tile);
        typename Back::Visits visit(back, first);
        for (int r = 0; r < count; ++r) {
          const int64_t unit = first + r;
          Vec<T, L> sum[NV];
          for (int v = 0; v < NV; ++v) sum[v] = load<T, L>(dh_tile + r * W + v * L);
          if (t + 1 < a.steps) visit(sum, unit, later.panel(q), h.at(t).row(q, unit));
          for (int v = 0; v < NV; ++v) {
            const T* at = tile + r * W + v * L;
            const Neuron<T, L> neuron{load<T, L>(at),
                                      load<T, L>(at + kGateTile<W>),
                                      load<T, L>(at + 2 * kGateTile<W>),
                                      load<T, L>(at + 3 * kGateTile<W>),
                                      load<T, L>(master.row(q, unit / chunk) + v * L),
                                      load<T, L>(master.row(q, a.chunks + unit / chunk) + v * L)};
            const Vec<T, L> squashed = Tanh::of<T, L>(load<T, L>(c.at(t).row(q, unit) + v * L));
            T* carry = carried.row(q, unit) + v * L;
            const Vec<T, L> dc =
                load<T, L>(carry) + sum[v] * neuron.o * Tanh::slope<T, L>(squashed);
            store<T, L>(carry, dc * neuron.forget());
            const Vec<T, L> dinput = dc * neuron.g;
            const Vec<T, L> dforget = dc * load<T, L>(c.at(t - 1).row(q, unit) + v * L);
            const Vec<T, L> dboth = dinput * (neuron.i - T(1)) + dforget * (neuron.f - T(1));
            const Vec<T, L> of_u[] = {sum[v] * squashed * Sigmoid::slope<T, L>(neuron.o),
                                      dc * neuron.input() * Tanh::slope<T, L>(neuron.g),
                                      dinput * neuron.both() * Sigmoid::slope<T, L>(neuron.i),
                                      dforget * neuron.both() * Sigmoid::slope<T, L>(neuron.f)};
            for (int g = 0; g < kGates; ++g) {
              T* bias_sum = bias_sums + (masters + g * hidden + unit) * L;
              store<T, L>(now.row(q, masters + g * hidden + unit) + v * L, of_u[g]);
              store<T, L>(bias_sum, load<T, L>(bias_sum) + of_u[g]);
            }
            store<T, L>(dsums.row(q, unit) + v * L, -(dinput + dboth * neuron.master_f));
            store<T, L>(dsums.row(q, hidden + unit) + v * L, dforget + dboth * neuron.master_i);
          }
        }
        if (a.dx)
          for (int g = 0; g < kGates; ++g)
            write_tile<T, W>(now.row(q, masters + g * hidden + first), seq.step(a.dx, rows, t, q),
                             masters + g * hidden + first, count, columns);
      });
      team.barrier();
      for (int gate = team.rank; gate < kMasters; gate += team.size)
        for (int64_t q = 0; q < panels; ++q) {
          const int64_t first = gate * a.chunks;
          cumsoftmax_backward<T, L, NV>(p.row(q, first), dsums.row(q, gate * hidden), a.chunks,
                                        chunk, now.row(q, first));
          for (int64_t row = first; row < first + a.chunks; ++row)
            for (int v = 0; v < NV; ++v)
              store<T, L>(bias_sums + row * L,
                          load<T, L>(bias_sums + row * L) + load<T, L>(now.row(q, row) + v * L));
          if (a.dx)
            write_tile<T, W>(now.row(q, first), seq.step(a.dx, rows, t, q), first,
                             static_cast<int>(a.chunks), seq.columns(q));
        }
      team.barrier();
    }
    rows_of_bias([&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; ++row)
        a.dbias[row] = sum_of_lanes<T, L>(load<T, L>(bias_sums + row * L));
    });
    if (a.h0)
      seq.tiles(units, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        write_tile<T, W>(carried.row(q, first), seq.step(a.dc0, hidden, 0, q), first, count,
                         columns);
        typename Back::Visits visit(back, first);
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sum[NV] = {};
          visit(sum, first + r, du.at(0).panel(q), h.at(-1).row(q, first + r));
          for (int v = 0; v < NV; ++v) store<T, L>(dh_tile + r * W + v * L, sum[v]);
        }
        write_tile<T, W>(dh_tile, seq.step(a.dh0, hidden, 0, q), first, count, columns);
      });
    back.finish(units);
  });
}

}  // namespace

template <class Isa, typename T>
void on_lstm_forward(const OnLstmForward<T>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    forward_loop<T, decltype(lanes)::value, decltype(vectors)::value>(a, panels.count);
  });
}

template <class Isa, typename T>
void on_lstm_backward(const OnLstmBackward<T>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    backward_loop<T, decltype(lanes)::value, decltype(vectors)::value>(a, panels.count);
  });
}

template void on_lstm_forward<SPARSE_ENGINE_ISA, float>(const OnLstmForward<float>&);
template void on_lstm_forward<SPARSE_ENGINE_ISA, double>(const OnLstmForward<double>&);
template void on_lstm_backward<SPARSE_ENGINE_ISA, float>(const OnLstmBackward<float>&);
template void on_lstm_backward<SPARSE_ENGINE_ISA, double>(const OnLstmBackward<double>&);

}  // namespace sparse_engine
