// The time loop of the cells with gates, backward. The gradient of dense input weights is taken
// inside it, while a step's panels are in cache.
#pragma once

#include "products/input_gradient.h"
#include "sequences/gated.h"
#include "sequences/initial_gradient.h"

namespace sparse_engine {
namespace {

template <typename T, typename A, int L, int NV, class Cell>
void backward_loop(const GatedBackward<T, A>& a, const Cell& cell, int64_t panels) {
  constexpr int W = L * NV, G = Cell::kGates, S = Cell::kSaved, kOwn = G - Cell::kShared;
  constexpr bool kHasMemory = Cell::kMemory >= 0;
  using Back = Adjoint<T, L, NV, A>;
  using Visits = typename Back::Visits;
  // The gates from this one on have a tile for dv: those whose dv is not du, or all where du is
  // rounded.
  constexpr int kFirstTile = std::is_same_v<T, A> ? Cell::kShared : 0;
  constexpr int64_t kTile = (1 + G - kFirstTile) * kGateTile<W>;  // with one for dh
  const int64_t hidden = a.w.rows / G, outputs = a.w.cols;
  const Sequence<T, W> seq{a.batch, panels, a.steps, a.first_row, a.resets};
  const bool projected = a.projection.w.ptr != nullptr;
  const Job job =
      job_of_steps(a.threads, a.w.nnz() + a.projection.w.nnz(), G * hidden, a.batch, a.steps);
  const int64_t needs = Back::needs(a.wt), projection_needs = Back::needs(a.projection.wt);
  const DenseInput<T, A> input{a.x,     a.dw_input, G * hidden, a.dw_input ? a.inputs : 0,
                               a.batch, job.threads};
  Scratch scratch(Ring<A, W>::bytes(2, G * hidden, panels) + Ring<A, W>::bytes(2, outputs, panels) +
                  Ring<A, W>::bytes(1, projected ? outputs : 0, panels) +
                  2 * Ring<T, W>::bytes(1, hidden, panels) + Scratch::bytes_of<T>(needs) +
                  Scratch::bytes_of<T>(projection_needs) +
                  Scratch::bytes_of<T>((G + kOwn) * hidden * L) +
                  Scratch::bytes_of<T>(job.threads * kTile) + InputGradient<T, A>::bytes(input));
  const Ring<A, W> du(scratch, 2, G * hidden, panels);
  const Ring<A, W> h(scratch, 2, outputs, panels);
  // With a projection: the whole gradient of h.
  const State<A, W> whole = Ring<A, W>(scratch, 1, projected ? outputs : 0, panels).at(0);
  const State<T, W> carried = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const State<T, W> c_first = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const Back back(a.wt, a.permutation, a.dvalues, scratch.take<T>(needs));
  const Back back_projection(a.projection.wt, a.projection.permutation, a.dprojection,
                             scratch.take<T>(projection_needs));
  T* bias_sums = scratch.take<T>((G + kOwn) * hidden * L);
  T* tiles = scratch.take<T>(job.threads * kTile);
  const InputGradient<T, A> input_gradient(input, scratch);

  run_team(job, [&](const Team& team) {
    const auto share = [&](const Csr& w) {
      return rows_of(w, team.rank, team.size, kBlock, G * kLinksPerGate);
    };
    const Rows own_h = share(a.wt), units = projected ? share(a.projection.wt) : own_h;
    T *dh_tile = tiles + team.rank * kTile, *own_tile = dh_tile + kGateTile<W>;
    back.start(team, a.values, own_h);
    if (projected) back_projection.start(team, a.projection.values, units);
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
      const State<A, W> later = du.at(t + 1), now = du.at(t), before = h.at(t - 1);
      const auto saved = saved_at<Cell, L>(seq, a.saved, hidden, t);
      const auto earlier = saved_at<Cell, L>(seq, a.saved, hidden, std::max<int64_t>(t - 1, 0));
      const T* x = input_gradient.step(team.rank, seq.row(t), 0, seq.running(t));
      const auto read_before = [&](int64_t q, int64_t first, int count) {
        if (t > 0)
          read_tile<T, W>(seq.step(a.h, outputs, t - 1, q), first, count, seq.columns(q, t),
                          before.row(q, first));
        else
          read_initial(seq, a.h0, before, q, first, count);
        seq.set_back(t, q, count, before.row(q, first));
      };
      // `sum` becomes the gradient of h: what came from outside, and from the step after this.
      const auto add_later = [&](Vec<T, L>(&sum)[NV], const T* dh, int64_t q, int64_t row,
                                 Visits& visit) {
        for (int v = 0; v < NV; ++v) sum[v] = load<T, L>(dh + v * L);
        if (seq.columns(q, t + 1) > 0) visit(sum, row, later.panel(q), h.at(t).row(q, row));
      };
      // sum += the gradient of what step t projects, which is computed again.
      const auto add_projected = [&](Vec<T, L>(&sum)[NV], int64_t q, int64_t unit, Visits& visit) {
        if constexpr (kHasMemory) {
          alignas(64) A projects[W];
          Vec<T, L> output[NV];
          for (int v = 0; v < NV; ++v) {
            Vec<T, L> keep[S];
            for (int s = 0; s < S; ++s) keep[s] = saved.read(unit, s, q * W + v * L);
            output[v] = cell.template output<VectorMath<T, L>>(keep[S - 2], keep[S - 1]);
          }
          store_row<T, L>(projects, output);
          visit(sum, unit, whole.panel(q), projects);
        }
      };
      // From the gradient of h to those of u (in `now`) and v (in `own`, where there are tiles).
      const auto step = [&](int64_t q, int64_t unit, const T* dh, T* own, Visits& visit) {
        Vec<T, L> sum[NV] = {}, over_batch[G + kOwn];
        const int columns = seq.columns(q, t);
        saved.fetch_next(unit, 0, S, q * W, columns);
        if (kHasMemory && t > 0) earlier.fetch_next(unit, Cell::kMemory, 1, q * W, columns);
        if (projected)
          add_projected(sum, q, unit, visit);
        else
          add_later(sum, dh, q, unit, visit);
        for (int g = 0; g < G + kOwn; ++g)
          over_batch[g] = load<T, L>(bias_sums + (g * hidden + unit) * L);
        RowWriter<T, L, NV, A> to[G];
        for (int g = 0; g < G; ++g) to[g].row = now.row(q, g * hidden + unit);
        for (int v = 0; v < NV; ++v) {
          const int64_t n = q * W + v * L;
          T* carry = carried.row(q, unit) + v * L;
          Vec<T, L> keep[S], of_u[G], of_v[G], state, flow = load<T, L>(carry);
          for (int s = 0; s < S; ++s) keep[s] = saved.read(unit, s, n);
          if (!kHasMemory)
            state = load_of_row<T, L, NV>(before.row(q, unit), v);
          else if (t > 0)
            state = earlier.read(unit, Cell::kMemory, n);
          else
            state = load<T, L>(c_first.row(q, unit) + v * L);
          if (kHasMemory) state = seq.template set_back<L>(t, n, state);
          cell.template backward<VectorMath<T, L>>(keep, sum[v], state, flow, of_u, of_v);
          // Of a sequence that has ended, `carried` is the gradient of its last c.
          store_first<T, L>(carry, flow, saved.batch - n);
          for (int g = 0; g < G; ++g) {
            to[g].set(v, of_u[g]);
            over_batch[g] += of_u[g];
          }
          for (int g = 0; g < kOwn; ++g) over_batch[G + g] += of_v[Cell::kShared + g];
          for (int g = kFirstTile; g < G; ++g)
            store<T, L>(own + (g - kFirstTile) * kGateTile<W> + v * L,
                        g < Cell::kShared ? of_u[g] : of_v[g]);
        }
        for (int g = 0; g < G + kOwn; ++g)
          store<T, L>(bias_sums + (g * hidden + unit) * L, over_batch[g]);
      };
      if (projected) {
        seq.tiles(own_h, t, [&](int64_t q, int64_t first, int count) {
          read_before(q, first, count);
          T* dh = computed_in<T>(whole.row(q, first), dh_tile);
          read_tile<T, W>(seq.step(a.dh, outputs, t, q), first, count, seq.columns(q, t), dh);
          Visits visit(back, first);
          for (int r = 0; r < count; ++r) {
            Vec<T, L> sum[NV];
            add_later(sum, dh + r * W, q, first + r, visit);
            store_row<T, L>(whole.row(q, first + r), sum);
          }
        });
        team.barrier();
      }
      seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q, t);
        if (!projected) {
          read_before(q, first, count);
          read_tile<T, W>(seq.step(a.dh, outputs, t, q), first, count, columns, dh_tile);
        }
        // dv of gate g from row r of the tile on.
        const auto dv = [&](int g, int r, int base) {
          return g < kFirstTile ? computed_in<T>(now.row(q, g * hidden + first + r), own_tile)
                                : own_tile + (g - kFirstTile) * kGateTile<W> + (r - base) * W;
        };
        Visits visit(projected ? back_projection : back, first);
        for (int begin = 0; begin < count; begin += kUnitsTogether) {
          const int end = std::min(begin + kUnitsTogether, count), base = a.dv ? 0 : begin;
          for (int r = begin; r < end; ++r)
            step(q, first + r, dh_tile + r * W, own_tile + (r - base) * W, visit);
          for (int g = 0; g < G; ++g)
            input_gradient.add(dv(g, begin, base), W, g * hidden + first + begin, end - begin,
                               columns, x, q * W);
        }
        if (a.dv)
          for (int g = 0; g < G; ++g)
            write_tile<T, W>(dv(g, 0, 0), seq.step(a.dv, G * hidden, t, q), g * hidden + first,
                             count, columns);
        for (int g = 0; g < G; ++g) seq.set_back(t, q, count, now.row(q, g * hidden + first));
        seq.set_back(t, q, count, carried.row(q, first));
      });
      team.barrier();
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
    if (a.dc0)
      seq.tiles(units, [&](int64_t q, int64_t first, int count) {
        write_tile<T, W>(carried.row(q, first), seq.step(a.dc0, hidden, 0, q), first, count,
                         seq.columns(q));
      });
    if (a.dh0)
      write_initial_gradient(back, seq, own_h, outputs, dh_tile, a.dh0,
                             [&](Visits& visit, int64_t q, int64_t row, Vec<T, L>(&sum)[NV]) {
                               if (!kHasMemory) load_row<T, L>(carried.row(q, row), sum);
                               visit(sum, row, du.at(0).panel(q), h.at(-1).row(q, row));
                             });
    back.finish(own_h);
    if (projected) back_projection.finish(units);
  });
}

// The same for any batch.
template <class Cell, typename T, typename A>
inline void gated_backward(const GatedBackward<T, A>& a, const Cell& cell) {
  with_panels<T, A>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    backward_loop<T, A, decltype(lanes)::value, decltype(vectors)::value>(a, cell, panels);
  });
}

}  // namespace
}  // namespace sparse_engine
