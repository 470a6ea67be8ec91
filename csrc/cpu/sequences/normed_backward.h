// The time loop of the cells with layer normalisation, backward: the steps of normed_forward.h in
// reverse, with the same barriers.
#pragma once

#include "sequences/initial_gradient.h"
#include "sequences/normed.h"

namespace sparse_engine {
namespace {

template <typename T, int L, int NV, class Cell>
void backward_loop(const NormedBackward<T>& a, const Cell& cell, int64_t panels) {
  using Back = Adjoint<T, L, NV>;
  constexpr int W = L * NV, G = Cell::kGates, S = kSaved<Cell>, M = kMoments<Cell>;
  constexpr int64_t kTiles = (1 + G) * kGateTile<W>;  // dh, and x of each gate
  const int64_t hidden = a.w.cols, rows = a.w.rows, with_c = Cell::kHasMemory ? hidden : 0;
  const Sequence<T, W> seq{a.batch, panels, a.steps, a.first_row, a.resets};
  const Job job = job_of_steps(a.threads, a.w.nnz(), rows, a.batch, a.steps);
  Scratch scratch(Ring<T, W>::bytes(2, rows, panels) + Ring<T, W>::bytes(1, hidden, panels) +
                  3 * Ring<T, W>::bytes(1, with_c, panels) +
                  Ring<T, W>::bytes(2 * job.threads, 2, panels) +
                  BlockSums<T, L, NV>::bytes(G, hidden, panels) +
                  BlockSums<T, L, NV>::bytes(1, with_c, panels) + NormSums<T, L>::bytes(rows) +
                  NormSums<T, L>::bytes(with_c) + Scratch::bytes_of<T>(Back::needs(a.wt)) +
                  Scratch::bytes_of<T>(job.threads * kTiles));
  // Of a step that is not complete, du holds dz.
  const Ring<T, W> du(scratch, 2, rows, panels);
  const State<T, W> state = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const State<T, W> carried = Ring<T, W>(scratch, 1, with_c, panels).at(0);
  const State<T, W> c_first = Ring<T, W>(scratch, 1, with_c, panels).at(0);
  const State<T, W> dy = Ring<T, W>(scratch, 1, with_c, panels).at(0);
  const Ring<T, W> means(scratch, 2 * job.threads, 2, panels);
  const BlockSums<T, L, NV> u_sums(scratch, G, hidden, panels), c_sums(scratch, 1, with_c, panels);
  const NormSums<T, L> totals(scratch, rows), c_totals(scratch, with_c);
  const Back back(a.wt, a.permutation, a.dvalues, scratch.take<T>(Back::needs(a.wt)));
  T* tiles = scratch.take<T>(job.threads * kTiles);

  run_team(job, [&](const Team& team) {
    const Rows units = rows_of(a.wt, team.rank, team.size, kBlock, G * kLinksPerGate);
    const Rows units_with_c = Cell::kHasMemory ? units : Rows{0, 0};
    const NormalisationBackward<T, L, NV> norm{a.norm, totals, u_sums, means.at(2 * team.rank)};
    const NormalisationBackward<T, L, NV> c_norm{a.c_norm, c_totals, c_sums,
                                                 means.at(2 * team.rank + 1)};
    T *const tile = tiles + team.rank * kTiles, *const x_tile = tile + kGateTile<W>;
    const auto of_gate = [&](int g) {
      return Rows{g * hidden + units.first, g * hidden + units.last};
    };
    back.start(team, a.values, units);
    for (int g = 0; g < G; ++g) totals.clear(of_gate(g));
    c_totals.clear(units_with_c);
    seq.tiles(units_with_c, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.dc_n, carried, q, first, count);
      read_initial(seq, a.c0, c_first, q, first, count);
    });
    team.barrier();
    const auto read_state = [&](const T* from, int64_t t, int64_t q, int64_t first, int count) {
      read_tile<T, W>(seq.step(from, hidden, t, q), first, count, seq.columns(q, t),
                      state.row(q, first));
    };

    for (int64_t t = a.steps - 1; t >= 0; --t) {
      const State<T, W> later = du.at(t + 1), now = du.at(t);
      const auto saved = record_of<L>(seq, a.saved, S * hidden, t);
      const auto earlier = record_of<L>(seq, a.saved, S * hidden, std::max<int64_t>(t - 1, 0));
      const auto moments = record_of<L>(seq, a.moments, M, t);
      // Where `now` holds the gradients of all gates' z.
      const auto take_in_dz = [&](int64_t q, int64_t first, int count) {
        for (int g = 0; g < G; ++g)
          norm.take_in(
              q, g, first, count, now.row(q, g * hidden + first),
              [&](int64_t unit, int v) { return saved.read(g * hidden + unit, q * W + v * L); });
      };
      const auto read_x = [&](int g, int64_t q, int64_t first, int count) {
        read_tile<T, W>(seq.step(a.x, rows, t, q), g * hidden + first, count, seq.columns(q, t),
                        x_tile + g * kGateTile<W>);
      };
      // A gate's z, as in the forward pass.
      const auto z_of = [&](int g, int64_t q, int64_t first, int r, int v) {
        const int64_t row = g * hidden + first + r;
        return load<T, L>(x_tile + g * kGateTile<W> + r * W + v * L) +
               scaled<T, L>(a.norm, row, saved.read(row, q * W + v * L));
      };
      // c as it was normalised.
      const auto normalised_c = [&](int64_t q, int64_t unit, int v) {
        const int64_t n = q * W + v * L;
        return (saved.read(G * hidden + unit, n) - moments.read(1, n)) * moments.read(2, n);
      };
      seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
        const bool ends = seq.columns(q, t + 1) == 0;
        read_state(a.h, t, q, first, count);
        read_tile<T, W>(seq.step(a.dh, hidden, t, q), first, count, seq.columns(q, t), tile);
        if constexpr (Cell::kHasMemory) read_x(Cell::kOutputGate, q, first, count);
        typename Back::Visits visit(back, first);
        for (int r = 0; r < count; ++r) {
          const int64_t unit = first + r;
          Vec<T, L> dh[NV];
          load_row<T, L>(tile + r * W, dh);
          if (!ends) visit(dh, unit, later.panel(q), state.row(q, unit));
          for (int v = 0; v < NV; ++v) {
            Vec<T, L> dz;
            if constexpr (Cell::kHasMemory) {
              const Vec<T, L> z = z_of(Cell::kOutputGate, q, first, r, v);
              const Vec<T, L> y = scaled<T, L>(a.c_norm, unit, normalised_c(q, unit, v));
              store<T, L>(dy.row(q, unit) + v * L,
                          cell.template output_backward<VectorMath<T, L>>(z, y, dh[v], dz));
              store<T, L>(now.row(q, Cell::kOutputGate * hidden + unit) + v * L, dz);
            } else {
              dz = cell.template backward<VectorMath<T, L>>(load<T, L>(state.row(q, unit) + v * L),
                                                            dh[v]);
              store<T, L>(now.row(q, unit) + v * L, dz);
            }
          }
        }
        if constexpr (Cell::kHasMemory)
          c_norm.take_in(q, 0, first, count, dy.row(q, first),
                         [&](int64_t unit, int v) { return normalised_c(q, unit, v); });
        else
          take_in_dz(q, first, count);
      });
      if constexpr (Cell::kHasMemory) {
        team.barrier();
        for (int64_t q = 0; q < panels && seq.columns(q, t) > 0; ++q) c_norm.learn(q);
        seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
          for (int g = 0; g < G; ++g)
            if (g != Cell::kOutputGate) read_x(g, q, first, count);
          for (int r = 0; r < count; ++r)
            for (int v = 0; v < NV; ++v) {
              const int64_t unit = first + r, n = q * W + v * L, columns = saved.batch - n;
              // Of a sequence that has ended, `carried` is the gradient of its last c, which waits.
              T* carry = carried.row(q, unit) + v * L;
              const Vec<T, L> dc = load_first<T, L>(carry, columns) +
                                   c_norm(load<T, L>(dy.row(q, unit) + v * L), unit,
                                          normalised_c(q, unit, v), moments.read(2, n), q, v);
              const Vec<T, L> before =
                  seq.template set_back<L>(t, n,
                                           t > 0 ? earlier.read(G * hidden + unit, n)
                                                 : load<T, L>(c_first.row(q, unit) + v * L));
              Vec<T, L> z[G], dz[G];
              for (int g = 0; g < G; ++g)
                if (g != Cell::kOutputGate) z[g] = z_of(g, q, first, r, v);
              const Vec<T, L> c = saved.read(G * hidden + unit, n);
              store_first<T, L>(
                  carry, cell.template backward<VectorMath<T, L>>(z, c, before, dc, dz), columns);
              for (int g = 0; g < G; ++g)
                if (g != Cell::kOutputGate)
                  store<T, L>(now.row(q, g * hidden + unit) + v * L, dz[g]);
            }
          take_in_dz(q, first, count);
          seq.set_back(t, q, count, carried.row(q, first));
        });
      }
      team.barrier();
      for (int64_t q = 0; q < panels && seq.columns(q, t) > 0; ++q) norm.learn(q);
      seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
        for (int g = 0; g < G; ++g) {
          const int64_t row = g * hidden + first;
          if (a.dx)
            write_tile<T, W>(now.row(q, row), seq.step(a.dx, rows, t, q), row, count,
                             seq.columns(q, t));
          for (int r = 0; r < count; ++r)
            for (int v = 0; v < NV; ++v) {
              const int64_t n = q * W + v * L;
              T* at = now.row(q, row + r) + v * L;
              store<T, L>(at, norm(load<T, L>(at), row + r, saved.read(row + r, n),
                                   moments.read(0, n), q, v));
            }
          seq.set_back(t, q, count, now.row(q, row));
        }
      });
      team.barrier();
    }
    for (int g = 0; g < G; ++g) totals.write(of_gate(g), a.dnorm);
    c_totals.write(units_with_c, a.dc_norm);
    if (a.h0) {
      seq.tiles(units, [&](int64_t q, int64_t first, int count) {
        read_state(a.h0, 0, q, first, count);
        if (Cell::kHasMemory)
          write_tile<T, W>(carried.row(q, first), seq.step(a.dc0, hidden, 0, q), first, count,
                           seq.columns(q));
      });
      write_initial_gradient(back, seq, units, hidden, tile, a.dh0,
                             [&](auto& visit, int64_t q, int64_t unit, Vec<T, L>(&sum)[NV]) {
                               visit(sum, unit, du.at(0).panel(q), state.row(q, unit));
                             });
    }
    back.finish(units);
  });
}

// The same for any batch.
template <class Cell, typename T>
inline void normed_backward(const NormedBackward<T>& a, const Cell& cell) {
  with_panels<T, T>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    backward_loop<T, decltype(lanes)::value, decltype(vectors)::value>(a, cell, panels);
  });
}

}  // namespace
}  // namespace sparse_engine
