// The time loop of the cells with gates. A unit's gates are rows of one weight; they are multiplied
// one after the other, and the cell is computed while their sums are in registers.
//
// A cell is a class of
//   kGates, kHasMemory: whether it carries a c beside h from step to step;
//   forward(x, u, carried, saved): from the input's and the recurrent contribution to every gate.
//     Takes c over to the next step in `carried` (without a c, it holds the h before), fills
//     `saved`, and returns h;
//   backward(saved, dh, before, now, carried, du, dx): from the gradient of h to those of u and x.
//     `before` and `now` are c (without one, `before` is h) before and after the step; `carried` is
//     what reaches the gradient of c, or of h, other than by the weight.
#pragma once

#include "activation.h"
#include "row_product.h"
#include "sequence.h"
#include "sparse_engine/gated.h"
#include "weight_gradient.h"

namespace sparse_engine {
namespace {

// Elements of one gate in the tile of a team member.
template <int W>
constexpr int64_t kGateTile = static_cast<int64_t>(kTileRows) * W;

// Rows [first, first + count) of panel q of a [batch, units] array, or zeros where it is null.
template <typename T, int W>
inline void read_initial(const Sequence<T, W>& seq, const T* array, const State<T, W>& to,
                         int64_t q, int64_t first, int count) {
  if (array)
    read_tile<T, W>(seq.step(array, to.units, 0, q), first, count, seq.columns(q),
                    to.row(q, first));
  else
    std::fill(to.row(q, first), to.row(q, first + count), T(0));
}

template <typename T, int L, int NV, class Cell>
void forward_loop(const GatedForward<T>& a, int64_t panels) {
  constexpr int W = L * NV, G = Cell::kGates, S = kSavedPerUnit;
  const int64_t hidden = a.w.cols;
  const Sequence<T, W> seq{a.batch, panels};
  const int threads = threads_for_step(a.threads, a.w.nnz(), G * hidden, a.batch);
  Scratch scratch(Ring<T, W>::bytes(2, hidden, panels) + Ring<T, W>::bytes(1, hidden, panels) +
                  Scratch::bytes_of<T>(threads * S * kGateTile<W>));
  const Ring<T, W> h(scratch, 2, hidden, panels);
  const State<T, W> memory = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  T* tiles = scratch.take<T>(threads * S * kGateTile<W>);
  const RowProduct<T, L, NV> product{a.w, {a.values}, exceeds_l2<T, W>(hidden)};

  run_team(threads, [&](const Team& team) {
    const Rows units = units_of(a.w, G, team.rank, team.size, kBlock);
    T* tile = tiles + team.rank * S * kGateTile<W>;
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.h0, h.at(-1), q, first, count);
      if (Cell::kHasMemory) read_initial(seq, a.c0, memory, q, first, count);
    });
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      const State<T, W> before = h.at(t - 1), now = h.at(t);
      const State<T, W> carried = Cell::kHasMemory ? memory : before;
      seq.tiles(units, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        for (int g = 0; g < G; ++g)
          read_tile<T, W>(seq.step(a.x, G * hidden, t, q), g * hidden + first, count, columns,
                          tile + g * kGateTile<W>);
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sums[G][NV];
          for (int g = 0; g < G; ++g) {
            const int64_t row = g * hidden + first + r;
            Vec<T, L> sum[NV];
            for (int v = 0; v < NV; ++v) sum[v] = Vec<T, L>{} + (a.bias ? a.bias[row] : T(0));
            if (t > 0 || a.h0) product(sum, row, before.panel(q));
            for (int v = 0; v < NV; ++v) sums[g][v] = sum[v];
          }
          for (int v = 0; v < NV; ++v) {
            T* at = tile + r * W + v * L;
            T* carry = carried.row(q, first + r) + v * L;
            Vec<T, L> x[G], u[G], saved[S], state = load<T, L>(carry);
            for (int g = 0; g < G; ++g) {
              x[g] = load<T, L>(at + g * kGateTile<W>);
              u[g] = sums[g][v];
            }
            store<T, L>(now.row(q, first + r) + v * L,
                        Cell::template forward<T, L>(x, u, state, saved));
            if (Cell::kHasMemory) store<T, L>(carry, state);
            for (int s = 0; s < S; ++s) store<T, L>(at + s * kGateTile<W>, saved[s]);
          }
        }
        write_tile<T, W>(now.row(q, first), seq.step(a.h, hidden, t, q), first, count, columns);
        const auto write_memory = [&](T* to, int64_t step) {
          write_tile<T, W>(memory.row(q, first), seq.step(to, hidden, step, q), first, count,
                           columns);
        };
        if (a.c) write_memory(a.c, t);
        if (a.c_n && t + 1 == a.steps) write_memory(a.c_n, 0);
        if (a.saved)
          for (int s = 0; s < S; ++s)
            write_tile<T, W>(tile + s * kGateTile<W>, seq.step(a.saved, S * hidden, t, q),
                             s * hidden + first, count, columns);
      });
      team.barrier();
    }
  });
}

template <typename T, int L, int NV, class Cell>
void backward_loop(const GatedBackward<T>& a, int64_t panels) {
  constexpr int W = L * NV, G = Cell::kGates, S = kSavedPerUnit;
  constexpr int64_t kTile = (S + 1) * kGateTile<W>;  // what was saved, and the gradient of h
  const int64_t hidden = a.w.cols;
  const Sequence<T, W> seq{a.batch, panels};
  const int threads = threads_for_step(a.threads, a.w.nnz(), G * hidden, a.batch);
  const int64_t places = WeightGradient<T, L, NV>::steps_together(hidden) + 1;
  const int64_t memory_places = Cell::kHasMemory ? 2 : 0;
  Scratch scratch(Ring<T, W>::bytes(places, G * hidden, panels) +
                  Ring<T, W>::bytes(places, hidden, panels) +
                  Ring<T, W>::bytes(memory_places, hidden, panels) +
                  Ring<T, W>::bytes(1, hidden, panels) + Scratch::bytes_of<T>(a.w.nnz()) +
                  Scratch::bytes_of<T>(G * hidden * L) + Scratch::bytes_of<T>(threads * kTile));
  const Ring<T, W> du(scratch, places, G * hidden, panels);
  const Ring<T, W> h(scratch, places, hidden, panels);
  const Ring<T, W> c(scratch, memory_places, hidden, panels);
  const State<T, W> carried = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  T* values = scratch.take<T>(a.w.nnz());
  T* bias_sums = scratch.take<T>(G * hidden * L);
  T* tiles = scratch.take<T>(threads * kTile);
  const RowProduct<T, L, NV> product{a.wt, {values}, exceeds_l2<T, W>(G * hidden)};

  run_team(threads, [&](const Team& team) {
    const Rows units = rows_of(a.wt, team.rank, team.size, kBlock);
    WeightGradient<T, L, NV> weight_gradient(a.w, rows_of(a.w, team.rank, team.size, kBlock), du, h,
                                             panels, a.dvalues);
    T *tile = tiles + team.rank * kTile, *dh_tile = tile + S * kGateTile<W>;
    permute_share(team, a.values, a.permutation, a.w, values);
    for (int g = 0; g < G; ++g)
      std::fill(bias_sums + (g * hidden + units.first) * L,
                bias_sums + (g * hidden + units.last) * L, T(0));
    // Step t of `array`, whose step -1 is `initial`.
    const auto read_state = [&](const T* array, const T* initial, const Ring<T, W>& to, int64_t t,
                                int64_t q, int64_t first, int count) {
      const T* from = t < 0 ? initial : array + t * a.batch * hidden;
      read_initial(seq, from, to.at(t), q, first, count);
    };
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.dc_n, carried, q, first, count);
      if (Cell::kHasMemory) read_state(a.c, a.c0, c, a.steps - 1, q, first, count);
    });
    team.barrier();

    for (int64_t t = a.steps - 1; t >= 0; --t) {
      const State<T, W> later = du.at(t + 1), now = du.at(t);
      seq.tiles(units, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        read_state(a.h, a.h0, h, t - 1, q, first, count);
        if (Cell::kHasMemory) read_state(a.c, a.c0, c, t - 1, q, first, count);
        for (int s = 0; s < S; ++s)
          read_tile<T, W>(seq.step(a.saved, S * hidden, t, q), s * hidden + first, count, columns,
                          tile + s * kGateTile<W>);
        read_tile<T, W>(seq.step(a.dh, hidden, t, q), first, count, columns, dh_tile);
        for (int r = 0; r < count; ++r) {
          const int64_t unit = first + r;
          const T* before = (Cell::kHasMemory ? c : h).at(t - 1).row(q, unit);
          const T* after = Cell::kHasMemory ? c.at(t).row(q, unit) : before;
          Vec<T, L> sum[NV], over_batch[G];
          for (int v = 0; v < NV; ++v) sum[v] = load<T, L>(dh_tile + r * W + v * L);
          if (t + 1 < a.steps) product(sum, unit, later.panel(q));
          for (int g = 0; g < G; ++g)
            over_batch[g] = load<T, L>(bias_sums + (g * hidden + unit) * L);
          for (int v = 0; v < NV; ++v) {
            T* at = tile + r * W + v * L;
            T* carry = carried.row(q, unit) + v * L;
            Vec<T, L> saved[S], of_u[G], of_x[G], state = load<T, L>(carry);
            for (int s = 0; s < S; ++s) saved[s] = load<T, L>(at + s * kGateTile<W>);
            Cell::template backward<T, L>(saved, sum[v], load<T, L>(before + v * L),
                                          load<T, L>(after + v * L), state, of_u, of_x);
            store<T, L>(carry, state);
            for (int g = 0; g < G; ++g) {
              store<T, L>(now.row(q, g * hidden + unit) + v * L, of_u[g]);
              store<T, L>(at + g * kGateTile<W>, of_x[g]);
              over_batch[g] += of_u[g];
            }
          }
          for (int g = 0; g < G; ++g)
            store<T, L>(bias_sums + (g * hidden + unit) * L, over_batch[g]);
        }
        if (a.dx)
          for (int g = 0; g < G; ++g)
            write_tile<T, W>(tile + g * kGateTile<W>, seq.step(a.dx, G * hidden, t, q),
                             g * hidden + first, count, columns);
      });
      team.barrier();
      weight_gradient.step(t, a.h0 ? 0 : 1);
    }
    for (int g = 0; g < G; ++g)
      for (int64_t row = g * hidden + units.first; row < g * hidden + units.last; ++row)
        a.dbias[row] = sum_of_lanes<T, L>(load<T, L>(bias_sums + row * L));
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      const int columns = seq.columns(q);
      if (a.dc0)
        write_tile<T, W>(carried.row(q, first), seq.step(a.dc0, hidden, 0, q), first, count,
                         columns);
      if (a.dh0 == nullptr) return;
      for (int r = 0; r < count; ++r) {
        Vec<T, L> sum[NV] = {};
        if (!Cell::kHasMemory)
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
