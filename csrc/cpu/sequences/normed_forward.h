// The time loop of the cells with layer normalisation, forward. Each step is a product and, behind
// a barrier, the cell; that of a c has its normalisation behind one more.
#pragma once

#include "products/row_groups.h"
#include "sequences/normed.h"

namespace sparse_engine {
namespace {

template <typename T, int L, int NV, class Cell>
void forward_loop(const NormedForward<T>& a, const Cell& cell, int64_t panels) {
  constexpr int W = L * NV, G = Cell::kGates, S = kSaved<Cell>, M = kMoments<Cell>;
  const int64_t hidden = a.w.cols, rows = a.w.rows, with_c = Cell::kHasMemory ? hidden : 0;
  const Sequence<T, W> seq{a.batch, panels, a.steps, a.first_row, a.resets};
  const Job job = job_of_steps(a.threads, a.w.nnz(), rows, a.batch, a.steps);
  using Product = GroupedProduct<T, L, NV>;
  const typename Product::Use use{a.steps * panels, job.threads, G};
  Scratch scratch(
      Ring<T, W>::bytes(2, hidden, panels) + Ring<T, W>::bytes(1, rows, panels) +
      Ring<T, W>::bytes(1, with_c, panels) + Ring<T, W>::bytes(2 * job.threads, 2, panels) +
      BlockSums<T, L, NV>::bytes(G, hidden, panels) +
      BlockSums<T, L, NV>::bytes(1, with_c, panels) +
      Scratch::bytes_of<T>(job.threads * G * kGateTile<W>) + Product::template bytes<T>(a.w, use));
  const Ring<T, W> h(scratch, 2, hidden, panels);
  const State<T, W> u = Ring<T, W>(scratch, 1, rows, panels).at(0);
  const State<T, W> c = Ring<T, W>(scratch, 1, with_c, panels).at(0);
  const Ring<T, W> moments(scratch, 2 * job.threads, 2, panels);
  const BlockSums<T, L, NV> u_sums(scratch, G, hidden, panels), c_sums(scratch, 1, with_c, panels);
  T* tiles = scratch.take<T>(job.threads * G * kGateTile<W>);
  const Product w =
      Product::template make<T>({a.w, {a.values}, prefetch_of<T, W>(a.w)}, use, scratch);

  run_team(job, [&](const Team& team) {
    const Rows units = units_of(a.w, G, team.rank, team.size, kBlock, G * kLinksPerGate);
    const typename Product::Share product(w, team.rank, units);
    const Normalisation<T, L, NV> norm{a.norm, u_sums, moments.at(2 * team.rank)};
    const Normalisation<T, L, NV> c_norm{a.c_norm, c_sums, moments.at(2 * team.rank + 1)};
    T* const tile = tiles + team.rank * G * kGateTile<W>;
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.h0, h.at(-1), q, first, count);
      seq.set_back(0, q, count, h.at(-1).row(q, first));
      if (!Cell::kHasMemory) return;
      read_initial(seq, a.c0, c, q, first, count);
      seq.set_back(0, q, count, c.row(q, first));
    });
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      const State<T, W> before = h.at(t - 1), now = h.at(t);
      const Record<T, L> saved = record_of<L>(seq, a.saved, S * hidden, t);
      const auto write_h = [&](int64_t q, int64_t first, int count) {
        write_tile<T, W>(now.row(q, first), seq.step(a.h, hidden, t, q), first, count,
                         seq.columns(q, t));
        seq.set_back(t + 1, q, count, now.row(q, first));
      };
      seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
        for (int g = 0; g < G; ++g) {
          const int64_t row = g * hidden + first;
          for (int r = 0; r < count; ++r) {
            Vec<T, L> sum[NV] = {};
            if (t > 0 || a.h0) product(sum, first + r, before.panel(q), g);
            store_row<T, L>(u.row(q, row + r), sum);
          }
          u_sums.describe(q, g, first, count, u.row(q, row));
        }
      });
      team.barrier();
      for (int64_t q = 0; q < panels && seq.columns(q, t) > 0; ++q) norm.learn(q);
      seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q, t);
        for (int g = 0; g < G; ++g)
          read_tile<T, W>(seq.step(a.x, rows, t, q), g * hidden + first, count, columns,
                          tile + g * kGateTile<W>);
        for (int r = 0; r < count; ++r)
          for (int v = 0; v < NV; ++v) {
            const int64_t unit = first + r;
            Vec<T, L> z[G], keep[S];
            for (int g = 0; g < G; ++g) {
              const int64_t row = g * hidden + unit;
              keep[g] = norm(load<T, L>(u.row(q, row) + v * L), q, v);
              z[g] = load<T, L>(tile + g * kGateTile<W> + r * W + v * L) +
                     scaled<T, L>(a.norm, row, keep[g]);
            }
            Vec<T, L> result;
            if constexpr (Cell::kHasMemory) {
              Vec<T, L> memory = load<T, L>(c.row(q, unit) + v * L);
              result = cell.template forward<VectorMath<T, L>>(z, memory);
              store<T, L>(c.row(q, unit) + v * L, memory);
              keep[G] = memory;
            } else {
              result = cell.template forward<VectorMath<T, L>>(z[0]);
            }
            store<T, L>(now.row(q, unit) + v * L, result);
            if (a.saved)
              for (int s = 0; s < S; ++s) saved.write(s * hidden + unit, q * W + v * L, keep[s]);
          }
        if constexpr (Cell::kHasMemory) {
          c_sums.describe(q, 0, first, count, c.row(q, first));
          // Those that go on write theirs again.
          if (seq.columns(q, t + 1) < columns)
            write_tile<T, W>(c.row(q, first), seq.step(a.c_n, hidden, 0, q), first, count, columns);
        } else {
          write_h(q, first, count);
        }
      });
      team.barrier();
      if constexpr (Cell::kHasMemory) {
        for (int64_t q = 0; q < panels && seq.columns(q, t) > 0; ++q) c_norm.learn(q);
        seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
          for (int64_t unit = first; unit < first + count; ++unit)
            for (int v = 0; v < NV; ++v) {
              T* at = now.row(q, unit) + v * L;
              const Vec<T, L> n = c_norm(load<T, L>(c.row(q, unit) + v * L), q, v);
              store<T, L>(at, cell.template output<VectorMath<T, L>>(
                                  load<T, L>(at), scaled<T, L>(a.c_norm, unit, n)));
            }
          write_h(q, first, count);
          seq.set_back(t + 1, q, count, c.row(q, first));
        });
        team.barrier();
      }
      if (a.saved && team.rank == 0) {
        const Record<T, L> kept = record_of<L>(seq, a.moments, M, t);
        for (int64_t n = 0; n < panels * W; n += L) {
          const int64_t q = n / W, at = n % W;
          kept.write(0, n, load<T, L>(norm.moments.row(q, 1) + at));
          for (int m = 1; m < M; ++m)
            kept.write(m, n, load<T, L>(c_norm.moments.row(q, m - 1) + at));
        }
      }
    }
  });
}

// The same for any batch.
template <class Cell, typename T>
inline void normed_forward(const NormedForward<T>& a, const Cell& cell) {
  with_panels<T, T>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    forward_loop<T, decltype(lanes)::value, decltype(vectors)::value>(a, cell, panels);
  });
}

}  // namespace
}  // namespace sparse_engine
