// The time loop of the cells with gates, forward. Dense input weights are multiplied inside it, a
// few units at a time; a projection has a phase of its own in each step.
#pragma once

#include "products/projection.h"
#include "products/row_groups.h"
#include "sequences/gated.h"

namespace sparse_engine {
namespace {

template <typename T, typename A, int L, int NV, class Cell>
void forward_loop(const GatedForward<T, A>& a, const Cell& cell, int64_t panels) {
  constexpr int W = L * NV, G = Cell::kGates, S = Cell::kSaved, K = kLanes<T>;
  constexpr bool kHasMemory = Cell::kMemory >= 0, kRounds = !std::is_same_v<T, A>;
  using Product = GroupedProduct<T, L, NV>;
  const int64_t hidden = a.w.rows / G, outputs = a.w.cols, packed_inputs = a.w_input ? a.inputs : 0;
  const Sequence<T, W> seq{a.batch, panels, a.steps, a.first_row, a.resets};
  const bool projected = a.projection.w.ptr != nullptr;
  const int64_t first_product = a.h0 ? 0 : 1;
  const int64_t links = a.w.nnz() + (projected ? a.projection.w.nnz() : 0);
  const Job job =
      job_of_steps(a.threads, links + G * hidden * packed_inputs, G * hidden, a.batch, a.steps);
  const typename Product::Use use{a.steps * panels, job.threads, G};
  Scratch scratch(
      Ring<A, W>::bytes(2, outputs, panels) + Ring<A, W>::bytes(1, hidden, panels) +
      Ring<T, W>::bytes(1, hidden, panels) + Ring<A, W>::bytes(2, packed_inputs, panels) +
      Scratch::bytes_of<T>(job.threads * G * kGateTile<W>) + Product::template bytes<A>(a.w, use));
  const Ring<A, W> h(scratch, 2, outputs, panels);
  const State<A, W> unprojected = Ring<A, W>(scratch, 1, hidden, panels).at(0);
  // c, or where h is rounded, h as it was before.
  const State<T, W> memory = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const Ring<A, W> x(scratch, 2, packed_inputs, panels);
  T* tiles = scratch.take<T>(job.threads * G * kGateTile<W>);
  const Product w =
      Product::template make<A>({a.w, {a.values}, prefetch_of<A, W>(a.w)}, use, scratch);
  const RowProduct<T, L, NV> projection{
      a.projection.w, {a.projection.values}, prefetch_of<A, W>(a.projection.w)};

  run_team(job, [&](const Team& team) {
    const Rows units = units_of(a.w, G, team.rank, team.size, kBlock, G * kLinksPerGate);
    const Rows own_h =
        projected ? rows_of(a.projection.w, team.rank, team.size, kBlock, kLinksPerGate) : units;
    T* const own = tiles + team.rank * G * kGateTile<W>;
    const typename Product::Share product(w, team.rank, units);
    bool fine = product.fine();  // all links that were looked at may be followed
    seq.tiles(own_h, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.h0, h.at(-1), q, first, count);
      seq.set_back(0, q, count, h.at(-1).row(q, first));
    });
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      if (kHasMemory)
        read_initial(seq, a.c0, memory, q, first, count);
      else if (kRounds)
        read_initial(seq, a.h0, memory, q, first, count);
      if (kHasMemory || kRounds) seq.set_back(0, q, count, memory.row(q, first));
    });
    if (a.w_input) seq.pack_step(team, a.x, 0, x.at(0));
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      const State<A, W> before = h.at(t - 1), now = h.at(t), input = x.at(t);
      const State<A, W> output = projected ? unprojected : now;
      const auto saved = saved_at<Cell, L>(seq, a.saved, hidden, t);
      if (a.w_input && t + 1 < a.steps) seq.pack_step(team, a.x, t + 1, x.at(t + 1));

      const auto carried_in = [&](int64_t q, int64_t unit) {
        if constexpr (kHasMemory || kRounds)
          return memory.row(q, unit);
        else
          return before.row(q, unit);
      };

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
      const auto step = [&](int64_t q, int64_t unit, const T* tile, bool multiplies) {
        Vec<T, L> sums[G][NV];
        for (int g = 0; g < G; ++g) {
          const int64_t row = g * hidden + unit;
          Vec<T, L> sum[NV];
          for (int v = 0; v < NV; ++v) sum[v] = Vec<T, L>{} + (a.bias ? a.bias[row] : T(0));
          if (multiplies) product(sum, unit, before.panel(q), g);
          for (int v = 0; v < NV; ++v) sums[g][v] = sum[v];
        }
        RowWriter<T, L, NV, A> to;
        to.row = output.row(q, unit);
        for (int v = 0; v < NV; ++v) {
          T* carry = carried_in(q, unit) + v * L;
          Vec<T, L> from_x[G], u[G], keep[S], state = load<T, L>(carry);
          for (int g = 0; g < G; ++g) {
            from_x[g] = load<T, L>(tile + g * kGateTile<W> + v * L);
            u[g] = sums[g][v];
          }
          const Vec<T, L> m = cell.template forward<VectorMath<T, L>>(from_x, u, state, keep);
          to.set(v, m);
          if (kHasMemory || kRounds) store<T, L>(carry, kHasMemory ? state : m);
          if (!a.saved) continue;
          if constexpr (kRounds && kHasMemory) cell.mark_clipped(keep);
          for (int s = 0; s < S; ++s) saved.write(unit, s, q * W + v * L, keep[s]);
        }
      };
      // The same for `count` units of a batch of one: lanes over the units, and row after row of a
      // gate, since the hardware foresees only long streams of links.
      const auto step_of_units = [&](int64_t first, int count, const T* tile, bool multiplies) {
        if constexpr (W == 1) {
          T sums[G][kTileRows];
          for (int g = 0; g < G; ++g) {
            const int64_t row = g * hidden + first;
            for (int r = 0; r < count; ++r) sums[g][r] = a.bias ? a.bias[row + r] : T(0);
            if (multiplies) product.rows(first, count, before.panel(0), sums[g], g);
          }
          for (int r = 0; r < count; r += K) {
            const int some = std::min(K, count - r);
            Vec<T, K> from_x[G], u[G], keep[S];
            T* carry = carried_in(0, first + r);
            Vec<T, K> state = load_first<T, K>(carry, some);
            for (int g = 0; g < G; ++g) {
              from_x[g] = load<T, K>(tile + g * kGateTile<W> + r);
              u[g] = load_first<T, K>(sums[g] + r, some);
            }
            const Vec<T, K> m = cell.template forward<VectorMath<T, K>>(from_x, u, state, keep);
            store_first<T, K>(output.row(0, first + r), m, some);
            if (kHasMemory || kRounds) store_first<T, K>(carry, kHasMemory ? state : m, some);
            if (!a.saved) continue;
            if constexpr (kRounds && kHasMemory) cell.mark_clipped(keep);
            for (int k = 0; k < some; ++k)
              for (int s = 0; s < S; ++s) saved.write(first + r + k, s, 0, keep[s][k]);
          }
        }
      };
      seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
        for (int g = 0; t == first_product && g < G; ++g)
          fine = fine && rows_in_range(a.w, g * hidden + first, count);
        const bool multiplies = t >= first_product && fine;
        if constexpr (W == 1) {
          contribution(q, first, count, own);
          step_of_units(first, count, own, multiplies);
        } else {
          if (!a.w_input) contribution(q, first, count, own);
          for (int r = 0; r < count; r += kUnitsTogether) {
            const int together = std::min(kUnitsTogether, count - r);
            if (a.w_input) contribution(q, first + r, together, own);
            const T* tile = own + (a.w_input ? 0 : r) * W;
            for (int i = 0; i < together; ++i) step(q, first + r + i, tile + i * W, multiplies);
          }
        }
        const int columns = seq.columns(q, t);
        if (!projected)
          write_tile<T, W>(now.row(q, first), seq.step(a.h, outputs, t, q), first, count, columns);
        // Those that go on write theirs again.
        if (a.c_n && seq.columns(q, t + 1) < columns)
          write_tile<T, W>(memory.row(q, first), seq.step(a.c_n, hidden, 0, q), first, count,
                           columns);
        if (!projected) seq.set_back(t + 1, q, count, now.row(q, first));
        if (kHasMemory || kRounds) seq.set_back(t + 1, q, count, memory.row(q, first));
      });
      team.barrier();
      if (!projected) continue;
      seq.tiles(own_h, t, [&](int64_t q, int64_t first, int count) {
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sum[NV] = {};
          projection(sum, first + r, output.panel(q));
          store_row<T, L>(now.row(q, first + r), sum);
        }
        write_tile<T, W>(now.row(q, first), seq.step(a.h, outputs, t, q), first, count,
                         seq.columns(q, t));
        seq.set_back(t + 1, q, count, now.row(q, first));
      });
      team.barrier();
    }
    if (!fine) report(a.out_of_range);
  });
}

// The same for any batch.
template <class Cell, typename T, typename A>
inline void gated_forward(const GatedForward<T, A>& a, const Cell& cell) {
  with_panels<T, A>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    forward_loop<T, A, decltype(lanes)::value, decltype(vectors)::value>(a, cell, panels);
  });
}

}  // namespace
}  // namespace sparse_engine
