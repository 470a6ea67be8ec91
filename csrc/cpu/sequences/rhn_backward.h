// The time loop of the recurrent highway network, backward.
#pragma once

#include "sequences/highway.h"
#include "sequences/initial_gradient.h"

namespace sparse_engine {
namespace {

template <typename T, typename A, int L, int NV, class Cell>
void backward_loop(const RhnBackward<T, A>& a, int64_t panels) {
  using Back = Adjoint<T, L, NV, A>;
  using Visits = typename Back::Visits;
  constexpr int W = L * NV, G = Cell::kBlocks, S = Cell::kSaved;
  constexpr int64_t kTile = (S + 1) * kGateTile<W>;  // what was saved, and the gradient of y
  const int64_t hidden = a.levels[0].w.cols, last = a.steps * a.depth - 1;
  const Sequence<T, W> seq{a.batch, panels, a.steps, nullptr, a.resets};
  const int64_t links = links_of(a);
  const Job job = job_of_steps(a.threads, links / a.depth, G * hidden, a.batch, a.steps);
  Scratch scratch(Ring<A, W>::bytes(2, G * hidden, panels) + Ring<A, W>::bytes(2, hidden, panels) +
                  2 * Ring<T, W>::bytes(1, hidden, panels) + Scratch::bytes_of<T>(2 * links) +
                  Scratch::bytes_of<int64_t>(a.depth + 1) +
                  Scratch::bytes_of<T>(a.depth * G * hidden * L) +
                  Scratch::bytes_of<T>(job.threads * kTile));
  const Ring<A, W> du(scratch, 2, G * hidden, panels);
  const Ring<A, W> masked(scratch, 2, hidden, panels);
  const State<T, W> carried = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const State<T, W> mask = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  T* memory = scratch.take<T>(2 * links);
  int64_t* first_link = scratch.take<int64_t>(a.depth + 1);
  T* bias_sums = scratch.take<T>(a.depth * G * hidden * L);
  T* tiles = scratch.take<T>(job.threads * kTile);
  first_link[0] = 0;
  for (int64_t l = 0; l < a.depth; ++l) first_link[l + 1] = first_link[l] + a.levels[l].w.nnz();

  run_team(job, [&](const Team& team) {
    T *tile = tiles + team.rank * kTile, *dy_tile = tile + S * kGateTile<W>;
    // The level behind l, from which the gradient comes, and the units for which l takes it.
    const auto behind = [&](int64_t l) { return (l + 1) % a.depth; };
    const auto units_of_level = [&](int64_t l) {
      return rows_of(a.levels[behind(l)].wt, team.rank, team.size, kBlock, G * kLinksPerGate);
    };
    const auto back_from = [&](int64_t l) {
      return Back(a.levels[l].wt, a.levels[l].permutation,
                  a.dvalues ? a.dvalues + first_link[l] : nullptr, memory + 2 * first_link[l],
                  links);
    };
    // sums[0 .. L) of row `row` of level l
    const auto sums_of_bias = [&](int64_t l, int64_t row) {
      return bias_sums + (l * G * hidden + row) * L;
    };
    for (int64_t l = 0; l < a.depth; ++l) {
      const Rows units = units_of_level(l);
      back_from(behind(l)).start(team, a.levels[behind(l)].values, units);
      for (int g = 0; g < G; ++g)
        std::fill(sums_of_bias(l, g * hidden + units.first),
                  sums_of_bias(l, g * hidden + units.last), T(0));
    }
    seq.tiles(units_of_level(a.depth - 1), [&](int64_t q, int64_t first, int count) {
      std::fill(carried.row(q, first), carried.row(q, first + count), T(0));
      read_mask(seq, a.mask, mask, q, first, count);
    });
    team.barrier();

    // The gradient of a state, from that of u one level further on, at k. None passes the first
    // level of a step at which an episode begins.
    const auto gradient_of_state = [&](Visits& visit, int64_t k, int64_t q, int64_t unit,
                                       Vec<T, L>(&ds)[NV]) {
      for (int v = 0; v < NV; ++v) ds[v] = Vec<T, L>{};
      if (k <= last) visit(ds, unit, du.at(k).panel(q), masked.at(k).row(q, unit));
      for (int v = 0; v < NV; ++v)
        ds[v] = ds[v] * load<T, L>(mask.row(q, unit) + v * L) +
                load<T, L>(carried.row(q, unit) + v * L);
      for (int v = 0; v < NV && k % a.depth == 0; ++v)
        ds[v] = seq.template set_back<L>(k / a.depth, q * W + v * L, ds[v]);
    };

    for (int64_t k = last; k >= 0; --k) {
      const int64_t t = k / a.depth, l = k % a.depth;
      const bool is_output = l + 1 == a.depth;
      const Back back = back_from(behind(l));
      seq.tiles(units_of_level(l), [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        for (int i = 0; i < S; ++i)
          read_tile<T, W>(seq.step(a.saved, S * hidden, k, q), i * hidden + first, count, columns,
                          tile + i * kGateTile<W>);
        if (is_output)
          read_tile<T, W>(seq.step(a.dy, hidden, t, q), first, count, columns, dy_tile);
        Visits visit(back, first);
        for (int r = 0; r < count; ++r) {
          const int64_t unit = first + r;
          Vec<T, L> ds[NV], over_batch[G];
          gradient_of_state(visit, k + 1, q, unit, ds);
          for (int g = 0; g < G; ++g)
            over_batch[g] = load<T, L>(sums_of_bias(l, g * hidden + unit));
          RowWriter<T, L, NV, A> to_state, to[G];
          to_state.row = masked.at(k).row(q, unit);
          for (int g = 0; g < G; ++g) to[g].row = du.at(k).row(q, g * hidden + unit);
          for (int v = 0; v < NV; ++v) {
            T* at = tile + r * W + v * L;
            Vec<T, L> saved[S], of_u[G];
            for (int i = 0; i < S; ++i) {
              saved[i] = load<T, L>(at + i * kGateTile<W>);
              if (Cell::is_sigmoid(i)) saved[i] = from_kept_sigmoid<T, L, A>(saved[i]);
            }
            if (is_output) ds[v] += load<T, L>(dy_tile + r * W + v * L);
            store<T, L>(carried.row(q, unit) + v * L,
                        Cell::template backward<VectorMath<T, L>>(saved, ds[v], of_u));
            to_state.set(v, saved[G] * load<T, L>(mask.row(q, unit) + v * L));
            for (int g = 0; g < G; ++g) {
              to[g].set(v, of_u[g]);
              store<T, L>(at + g * kGateTile<W>, of_u[g]);
              over_batch[g] += of_u[g];
            }
          }
          for (int g = 0; g < G; ++g)
            store<T, L>(sums_of_bias(l, g * hidden + unit), over_batch[g]);
        }
        if (a.dx && l < a.fed)
          for (int g = 0; g < G; ++g)
            write_tile<T, W>(tile + g * kGateTile<W>, seq.step(a.dx, G * hidden, t * a.fed + l, q),
                             g * hidden + first, count, columns);
      });
      team.barrier();
    }
    for (int64_t l = 0; l < a.depth; ++l) {
      const Rows units = units_of_level(l);
      for (int g = 0; g < G; ++g)
        for (int64_t row = g * hidden + units.first; row < g * hidden + units.last; ++row)
          a.dbias[l * G * hidden + row] = sum_of_lanes<T, L>(load<T, L>(sums_of_bias(l, row)));
    }
    write_initial_gradient(back_from(0), seq, units_of_level(a.depth - 1), hidden, dy_tile, a.ds0,
                           [&](Visits& visit, int64_t q, int64_t unit, Vec<T, L>(&ds)[NV]) {
                             gradient_of_state(visit, 0, q, unit, ds);
                           });
    for (int64_t l = 0; l < a.depth; ++l) back_from(behind(l)).finish(units_of_level(l));
  });
}

}  // namespace
}  // namespace sparse_engine
