// The time loop of the cells with gates. A unit's gates are rows of one weight; they are multiplied
// one after the other, and the cell is computed while their sums are in registers.
//
// A cell is a class of
//   kGates, kSaved: gates, and numbers to save, of a unit;
//   kShared: the first so many gates only depend on v + u, so that both have the same gradient;
//   kMemory: the place among what is saved of a c that is carried from step to step, or -1;
//   forward(v, u, carried, saved): from the input's and the recurrent contribution to every gate.
//     Takes c over to the next step in `carried` (without a c, it holds the h before), fills
//     `saved`, and returns h;
//   backward(saved, dh, before, carried, du, dv): from the gradient of h to those of u and v. Of
//   dv, the
//     shared gates are left out.
//     `before` is c (without one, h) before the step; `carried` is what reaches the gradient of c,
//     or of h, other than by the weight.
#pragma once

#include "activation.h"
#include "input_gradient.h"
#include "projection.h"
#include "row_product.h"
#include "sequence.h"
#include "sparse_engine/gated.h"
#include "weight_gradient.h"

namespace sparse_engine {
namespace {

// Elements of one gate in the tile of a team member.
template <int W>
constexpr int64_t kGateTile = static_cast<int64_t>(kTileRows) * W;

// So many units go through projection, product and cell together: all their gates stay in the
// first-level cache.
constexpr int kUnitsTogether = 32;

// What the units save at one step: [hidden, S, batch]. `Number` is const where it is only read.
template <class Number, int L, int S>
struct Saved {
  using T = std::remove_const_t<Number>;

  Number* data;
  int64_t hidden, batch;

  // Number s of a unit, from column n on.
  Number* at(int64_t unit, int s, int64_t n) const { return data + (unit * S + s) * batch + n; }
  SE_INLINE Vec<T, L> read(int64_t unit, int s, int64_t n) const {
    return load_first<T, L>(at(unit, s, n), batch - n);
  }
  SE_INLINE void write(int64_t unit, int s, int64_t n, Vec<T, L> v) const {
    store_first<T, L>(at(unit, s, n), v, batch - n);
  }
  // Asks for number s of `columns` columns from n on, some units before they are read: one number
  // of many is not what hardware foresees.
  SE_INLINE void fetch(int64_t unit, int s, int64_t n, int columns) const {
    constexpr int64_t kAhead = 8;
    if (unit + kAhead >= hidden) return;
    for (int line = 0; line < columns; line += 64 / static_cast<int>(sizeof(T)))
      __builtin_prefetch(at(unit + kAhead, s, n + line));
  }
};

// Step t of an array of them.
template <int L, int S, class Number, typename T, int W>
inline Saved<Number, L, S> saved_at(const Sequence<T, W>& seq, Number* array, int64_t hidden,
                                    int64_t t) {
  return {array + seq.row(t) * hidden * S, hidden, seq.running(t)};
}

template <typename T, int L, int NV, class Cell>
void forward_loop(const GatedForward<T>& a, int64_t panels) {
  constexpr int W = L * NV, G = Cell::kGates, S = Cell::kSaved;
  constexpr bool kHasMemory = Cell::kMemory >= 0;
  const int64_t hidden = a.w.cols, packed_inputs = a.w_input ? a.inputs : 0;
  const Sequence<T, W> seq{a.batch, panels, a.steps, a.first_row};
  const int threads =
      threads_for_step(a.threads, a.w.nnz() + G * hidden * packed_inputs, G * hidden, a.batch);
  Scratch scratch(Ring<T, W>::bytes(2, hidden, panels) + Ring<T, W>::bytes(1, hidden, panels) +
                  Ring<T, W>::bytes(2, packed_inputs, panels) +
                  Scratch::bytes_of<T>(threads * G * kGateTile<W>));
  const Ring<T, W> h(scratch, 2, hidden, panels);
  const State<T, W> memory = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const Ring<T, W> x(scratch, 2, packed_inputs, panels);
  T* tiles = scratch.take<T>(threads * G * kGateTile<W>);
  const RowProduct<T, L, NV> product{a.w, {a.values}, exceeds_l2<T, W>(hidden)};

  run_team(threads, [&](const Team& team) {
    const Rows units = units_of(a.w, G, team.rank, team.size, kBlock);
    T* const own = tiles + team.rank * G * kGateTile<W>;
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.h0, h.at(-1), q, first, count);
      if (kHasMemory) read_initial(seq, a.c0, memory, q, first, count);
    });
    if (a.w_input) seq.pack_step(team, a.x, 0, x.at(0));
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      const State<T, W> before = h.at(t - 1), now = h.at(t), input = x.at(t);
      const State<T, W> carried = kHasMemory ? memory : before;
      const Saved<T, L, S> saved = saved_at<L, S>(seq, a.saved, hidden, t);
      if (a.w_input && t + 1 < a.steps) seq.pack_step(team, a.x, t + 1, x.at(t + 1));

      // v of `count` units from `first` on, one tile per gate.
      const auto contribution = [&](int64_t q, int64_t first, int count, T* tile) {
        for (int g = 0; g < G; ++g) {
          const int64_t row = g * hidden + first;
          const T* bias = a.b_input ? a.b_input + row : nullptr;
          T* to = tile + g * kGateTile<W>;
          if (a.w_input) {
            project<T, L, NV>(a.w_input + row * a.inputs, a.inputs, bias, count, input.panel(q),
                              to);
          } else {
            read_tile<T, W>(seq.step(a.x, G * hidden, t, q), row, count, seq.columns(q, t), to);
            if (bias) add_to_rows<T, L, NV>(bias, count, to);
          }
        }
      };
      const auto step = [&](int64_t q, int64_t unit, const T* tile) {
        Vec<T, L> sums[G][NV];
        for (int g = 0; g < G; ++g) {
          const int64_t row = g * hidden + unit;
          Vec<T, L> sum[NV];
          for (int v = 0; v < NV; ++v) sum[v] = Vec<T, L>{} + (a.bias ? a.bias[row] : T(0));
          if (t > 0 || a.h0) product(sum, row, before.panel(q));
          for (int v = 0; v < NV; ++v) sums[g][v] = sum[v];
        }
        for (int v = 0; v < NV; ++v) {
          T* carry = carried.row(q, unit) + v * L;
          Vec<T, L> from_x[G], u[G], keep[S], state = load<T, L>(carry);
          for (int g = 0; g < G; ++g) {
            from_x[g] = load<T, L>(tile + g * kGateTile<W> + v * L);
            u[g] = sums[g][v];
          }
          store<T, L>(now.row(q, unit) + v * L,
                      Cell::template forward<T, L>(from_x, u, state, keep));
          if (kHasMemory) store<T, L>(carry, state);
          if (a.saved)
            for (int s = 0; s < S; ++s) saved.write(unit, s, q * W + v * L, keep[s]);
        }
      };
      seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
        if (!a.w_input) contribution(q, first, count, own);
        for (int r = 0; r < count; ++r) {
          const int together = r % kUnitsTogether;
          if (a.w_input && together == 0)
            contribution(q, first + r, std::min(kUnitsTogether, count - r), own);
          step(q, first + r, own + (a.w_input ? together : r) * W);
        }
        const int columns = seq.columns(q, t);
        write_tile<T, W>(now.row(q, first), seq.step(a.h, hidden, t, q), first, count, columns);
        // Those that go on write theirs again.
        if (a.c_n && seq.columns(q, t + 1) < columns)
          write_tile<T, W>(memory.row(q, first), seq.step(a.c_n, hidden, 0, q), first, count,
                           columns);
      });
      team.barrier();
    }
  });
}

template <typename T, int L, int NV, class Cell>
void backward_loop(const GatedBackward<T>& a, int64_t panels) {
  constexpr int W = L * NV, G = Cell::kGates, S = Cell::kSaved, kOwn = G - Cell::kShared;
  constexpr bool kHasMemory = Cell::kMemory >= 0;
  constexpr int64_t kTile = (1 + kOwn) * kGateTile<W>;  // dh, and dv where it is not du
  const int64_t hidden = a.w.cols;
  const Sequence<T, W> seq{a.batch, panels, a.steps, a.first_row};
  const int threads = threads_for_step(a.threads, a.w.nnz(), G * hidden, a.batch);
  const int64_t places = WeightGradient<T, L, NV>::steps_together(hidden) + 1;
  const DenseInput<T> input{a.x,     a.dw_input, G * hidden, a.dw_input ? a.inputs : 0,
                            a.batch, threads};
  Scratch scratch(Ring<T, W>::bytes(places, G * hidden, panels) +
                  Ring<T, W>::bytes(places, hidden, panels) +
                  2 * Ring<T, W>::bytes(1, hidden, panels) + Scratch::bytes_of<T>(a.w.nnz()) +
                  Scratch::bytes_of<T>((G + kOwn) * hidden * L) +
                  Scratch::bytes_of<T>(threads * kTile) + InputGradient<T>::bytes(input));
  const Ring<T, W> du(scratch, places, G * hidden, panels);
  const Ring<T, W> h(scratch, places, hidden, panels);
  const State<T, W> carried = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const State<T, W> c_first = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  T* values = scratch.take<T>(a.w.nnz());
  T* bias_sums = scratch.take<T>((G + kOwn) * hidden * L);
  T* tiles = scratch.take<T>(threads * kTile);
  const InputGradient<T> input_gradient(input, scratch);
  const RowProduct<T, L, NV> product{a.wt, {values}, exceeds_l2<T, W>(G * hidden)};

  run_team(threads, [&](const Team& team) {
    const Rows units = rows_of(a.wt, team.rank, team.size, kBlock);
    WeightGradient<T, L, NV> weight_gradient(a.w, rows_of(a.w, team.rank, team.size, kBlock), du, h,
                                             seq, a.dvalues);
    T *dh_tile = tiles + team.rank * kTile, *own_tile = dh_tile + kGateTile<W>;
    permute_share(team, a.values, a.permutation, a.w, values);
    const auto of_gate = [&](int g) {
      return Rows{g * hidden + units.first, g * hidden + units.last};
    };
    for (int g = 0; g < G + kOwn; ++g)
      std::fill(bias_sums + of_gate(g).first * L, bias_sums + of_gate(g).last * L, T(0));
    for (int g = 0; g < G; ++g) input_gradient.clear(of_gate(g));
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.dc_n, carried, q, first, count);
      if (kHasMemory) read_initial(seq, a.c0, c_first, q, first, count);
    });
    team.barrier();

    for (int64_t t = a.steps - 1; t >= 0; --t) {
      const State<T, W> later = du.at(t + 1), now = du.at(t), before = h.at(t - 1);
      const auto saved = saved_at<L, S>(seq, a.saved, hidden, t);
      const auto earlier = saved_at<L, S>(seq, a.saved, hidden, std::max<int64_t>(t - 1, 0));
      const T* x = input_gradient.step(team, seq.row(t), seq.running(t));
      // From the gradient of h to those of u (in `now`) and v (in `own`, where it is another).
      const auto step = [&](int64_t q, int64_t unit, const T* dh, T* own) {
        Vec<T, L> sum[NV], over_batch[G + kOwn];
        if (kHasMemory && t > 0) earlier.fetch(unit, Cell::kMemory, q * W, seq.columns(q, t));
        for (int v = 0; v < NV; ++v) sum[v] = load<T, L>(dh + v * L);
        if (seq.columns(q, t + 1) > 0) product(sum, unit, later.panel(q));
        for (int g = 0; g < G + kOwn; ++g)
          over_batch[g] = load<T, L>(bias_sums + (g * hidden + unit) * L);
        for (int v = 0; v < NV; ++v) {
          const int64_t n = q * W + v * L;
          T* carry = carried.row(q, unit) + v * L;
          Vec<T, L> keep[S], of_u[G], of_v[G], state, flow = load<T, L>(carry);
          for (int s = 0; s < S; ++s) keep[s] = saved.read(unit, s, n);
          if (!kHasMemory)
            state = load<T, L>(before.row(q, unit) + v * L);
          else if (t > 0)
            state = earlier.read(unit, Cell::kMemory, n);
          else
            state = load<T, L>(c_first.row(q, unit) + v * L);
          Cell::template backward<T, L>(keep, sum[v], state, flow, of_u, of_v);
          // Of a sequence that has ended, `carried` is the gradient of its last c.
          store_first<T, L>(carry, flow, saved.batch - n);
          for (int g = 0; g < G; ++g) {
            store<T, L>(now.row(q, g * hidden + unit) + v * L, of_u[g]);
            over_batch[g] += of_u[g];
          }
          for (int g = 0; g < kOwn; ++g) {
            store<T, L>(own + g * kGateTile<W> + v * L, of_v[Cell::kShared + g]);
            over_batch[G + g] += of_v[Cell::kShared + g];
          }
        }
        for (int g = 0; g < G + kOwn; ++g)
          store<T, L>(bias_sums + (g * hidden + unit) * L, over_batch[g]);
      };
      seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q, t);
        if (t > 0)
          read_tile<T, W>(seq.step(a.h, hidden, t - 1, q), first, count, columns,
                          before.row(q, first));
        else
          read_initial(seq, a.h0, before, q, first, count);
        read_tile<T, W>(seq.step(a.dh, hidden, t, q), first, count, columns, dh_tile);
        // dv of gate g from row r of the tile on.
        const auto dv = [&](int g, int r) {
          return g < Cell::kShared ? now.row(q, g * hidden + first + r)
                                   : own_tile + (g - Cell::kShared) * kGateTile<W> + r * W;
        };
        for (int begin = 0; begin < count; begin += kUnitsTogether) {
          const int end = std::min(begin + kUnitsTogether, count);
          for (int r = begin; r < end; ++r) step(q, first + r, dh_tile + r * W, own_tile + r * W);
          for (int g = 0; g < G; ++g)
            input_gradient.add(dv(g, begin), W, g * hidden + first + begin, end - begin, columns, x,
                               q * W);
        }
        if (a.dv)
          for (int g = 0; g < G; ++g)
            write_tile<T, W>(dv(g, 0), seq.step(a.dv, G * hidden, t, q), g * hidden + first, count,
                             columns);
      });
      team.barrier();
      weight_gradient.step(t, a.h0 ? 0 : 1);
    }
    for (int g = 0; g < G; ++g) {
      input_gradient.finish(of_gate(g));
      const int64_t to_v = (g < Cell::kShared ? 0 : kOwn) * hidden;
      for (int64_t row = of_gate(g).first; row < of_gate(g).last; ++row) {
        a.dbias[row] = sum_of_lanes<T, L>(load<T, L>(bias_sums + row * L));
        if (a.db_input)
          a.db_input[row] = sum_of_lanes<T, L>(load<T, L>(bias_sums + (row + to_v) * L));
      }
    }
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      const int columns = seq.columns(q);
      if (a.dc0)
        write_tile<T, W>(carried.row(q, first), seq.step(a.dc0, hidden, 0, q), first, count,
                         columns);
      if (a.dh0 == nullptr) return;
      for (int r = 0; r < count; ++r) {
        Vec<T, L> sum[NV] = {};
        if (!kHasMemory)
          for (int v = 0; v < NV; ++v) sum[v] = load<T, L>(carried.row(q, first + r) + v * L);
        product(sum, first + r, du.at(0).panel(q));
        for (int v = 0; v < NV; ++v) store<T, L>(dh_tile + r * W + v * L, sum[v]);
      }
      write_tile<T, W>(dh_tile, seq.step(a.dh0, hidden, 0, q), first, count, columns);
    });
  });
}

// The two for any batch.
template <class Cell, typename T>
inline void gated_forward(const GatedForward<T>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    forward_loop<T, decltype(lanes)::value, decltype(vectors)::value, Cell>(a, panels.count);
  });
}

template <class Cell, typename T>
inline void gated_backward(const GatedBackward<T>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    backward_loop<T, decltype(lanes)::value, decltype(vectors)::value, Cell>(a, panels.count);
  });
}

}  // namespace
}  // namespace sparse_engine
