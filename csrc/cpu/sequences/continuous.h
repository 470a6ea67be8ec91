// The time loop of the networks in continuous time, over a cell (cells/continuous.h says what it
// provides).
#pragma once

#include <cmath>

#include "sequences/dt_gradient.h"
#include "sequences/initial_gradient.h"
#include "sequences/unfolds.h"

namespace sparse_engine {
namespace {

template <class Cell, typename T, typename A, int L, int NV>
void forward_loop(const ContinuousForward<T, A>& a, const Cell& cell, int64_t panels) {
  constexpr int W = L * NV;
  const int64_t hidden = a.w.rows;
  const Sequence<T, W> seq{a.batch, panels, a.steps, nullptr, a.resets};
  Scratch scratch(Trajectory<Cell, T, A, W>::bytes(2, 1, hidden, panels) +
                  Unfolds<Cell, T, L, NV, A>::bytes(hidden, panels));
  const Trajectory<Cell, T, A, W> h(scratch, 2, 1, hidden, panels);
  const RowProduct<T, L, NV> product{a.w, {a.values}, prefetch_of<A, W>(a.w)};
  const Unfolds<Cell, T, L, NV, A> unfolds(cell, a.method, product, a.rate, seq, scratch);
  const int64_t stages = unfolds.stages();

  run_team(job_of_steps(a.threads, a.w.nnz(), hidden, a.batch, a.steps), [&](const Team& team) {
    const Rows rows = rows_of(a.w, team.rank, team.size, kBlock);
    unfolds.begin(rows, 0, a.h0, h.at(-1));
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      unfolds.hold(rows, a.x, t);
      for (int64_t m = 0; m < stages; ++m) {
        const int64_t now = t * stages + m;
        unfolds.stage(rows, m, a.dt, t, h.at(now - 1), h.at(now), {});
        team.barrier();
      }
      const Between<T, A, W> after = h.at((t + 1) * stages - 1);
      const State<T, W> end = after.own;
      seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        write_tile<T, W>(end.row(q, first), seq.step(a.h, hidden, t, q), first, count, columns);
        if (a.h_n && t + 1 == a.steps)
          write_tile<T, W>(end.row(q, first), seq.step(a.h_n, hidden, 0, q), first, count, columns);
      });
      if (a.resets && t + 1 < a.steps) {
        unfolds.set_back(rows, t + 1, after);
        team.barrier();
      }
    }
  });
}

// Stages are counted through all steps: stage n = t * stages + m leads from the states h.at(n - 1)
// to h.at(n).
template <class Cell, typename T, typename A, int L, int NV>
void backward_loop(const ContinuousBackward<T, A>& a, const Cell& cell, int64_t panels) {
  using Back = Adjoint<T, L, NV, A>;
  using Math = VectorMath<T, L>;
  constexpr int W = L * NV;
  const RungeKutta& method = a.method;
  const int64_t hidden = a.w.rows, stages = method.unfolds * method.stages;
  // Where products read the states, these are what products have read: rounded.
  const int64_t own_states = Cell::kReadsState ? 1 : stages + 1;
  const Sequence<T, W> seq{a.batch, panels, a.steps, nullptr, a.resets};
  Scratch scratch(Trajectory<Cell, T, A, W>::bytes(stages + 1, own_states, hidden, panels) +
                  Ring<T, W>::bytes(stages, hidden, panels) + Ring<A, W>::bytes(2, hidden, panels) +
                  4 * Ring<T, W>::bytes(1, hidden, panels) +
                  Unfolds<Cell, T, L, NV, A>::bytes(hidden, panels) +
                  DtGradient<T, L, NV>::bytes(hidden, panels) +
                  Scratch::bytes_of<T>(Back::needs(a.wt)) + Scratch::bytes_of<T>(hidden * L));
  const Trajectory<Cell, T, A, W> h(scratch, stages + 1, own_states, hidden, panels);
  const Ring<T, W> drive(scratch, stages, hidden, panels);
  const Ring<A, W> dz(scratch, 2, hidden, panels);
  const auto take_state = [&] { return Ring<T, W>(scratch, 1, hidden, panels).at(0); };
  // Gradients of the states at both ends of an unfold, of what a stage's state leaks, and of x_t.
  const State<T, W> start = take_state(), end = take_state(), leaked = take_state(),
                    dx = take_state();
  const RowProduct<T, L, NV> product{a.w, {a.values}, prefetch_of<A, W>(a.w)};
  const Unfolds<Cell, T, L, NV, A> unfolds(cell, method, product, a.rate, seq, scratch);
  const DtGradient<T, L, NV> dt_gradient(scratch, a.ddt, hidden, seq);
  const Back back(a.wt, a.permutation, a.dvalues, scratch.take<T>(Back::needs(a.wt)));
  T* rate_sums = scratch.take<T>(hidden * L);
  const T clip = unfolds.limit();
  const auto state_at = [](const Between<T, A, W>& point, int64_t q, int64_t unit, int v) {
    if constexpr (Cell::kReadsState)
      return load_of_row<T, L, NV>(point.read.row(q, unit), v);
    else
      return load<T, L>(point.own.row(q, unit) + v * L);
  };
  // The gradient of the states, from that of what products have read of them.
  const auto read_backward = [&](Vec<T, L> of_read, const Between<T, A, W>& point, int64_t q,
                                 int64_t unit, int v) {
    return cell.template read_backward<Math>(
        of_read, load_of_row<T, L, NV>(point.read.row(q, unit), v), state_at(point, q, unit, v));
  };

  run_team(job_of_steps(a.threads, a.w.nnz(), hidden, a.batch, a.steps), [&](const Team& team) {
    const Rows forward_rows = rows_of(a.w, team.rank, team.size, kBlock);
    const Rows rows = rows_of(a.wt, team.rank, team.size, kBlock);
    back.start(team, a.values, rows);
    std::fill(rate_sums + rows.first * L, rate_sums + rows.last * L, T(0));
    const auto read_state = [&](int64_t t) {
      const Between<T, A, W> to = h.at((t + 1) * stages - 1);
      if (t < 0)
        unfolds.begin(forward_rows, t + 1, a.h0, to);
      else
        unfolds.begin(forward_rows, t + 1, a.h + t * a.batch * hidden, to);
    };
    seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.dh_n, start, q, first, count);
      read_initial<T, W, T>(seq, nullptr, leaked, q, first, count);
    });
    read_state(a.steps - 1);

    for (int64_t t = a.steps - 1; t >= 0; --t) {
      read_state(t - 1);
      unfolds.hold(forward_rows, a.x, t);
      for (int64_t m = 0; m < stages; ++m) {
        const int64_t n = t * stages + m;
        team.barrier();
        unfolds.stage(forward_rows, m, a.dt, t, h.at(n - 1),
                      m + 1 < stages ? h.at(n) : Between<T, A, W>{}, drive.at(m));
      }
      team.barrier();
      dt_gradient.clear(rows, t);
      for (int64_t m = stages - 1; m >= 0; --m) {
        const int64_t n = t * stages + m, i = m % method.stages;
        const bool last = i + 1 == method.stages, last_of_step = m + 1 == stages;
        const T weight = static_cast<T>(method.weights[i]);
        const T node = last ? T(0) : static_cast<T>(method.nodes[i + 1]);
        const State<A, W> later = dz.at(n + 1), now = dz.at(n);
        const Between<T, A, W> before = h.at(n - 1), after = h.at(n);
        const State<T, W> drive_of_all = drive.at(m);
        const bool reaches = last_of_step && a.resets;
        seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
          const UnfoldLength<T, L, NV> dt(seq, a.dt, t, q);
          if (last_of_step)
            read_tile<T, W>(seq.step(a.dh, hidden, t, q), first, count, seq.columns(q),
                            end.row(q, first));
          // The states that step t has reached, even if the next step set them back. Read behind
          // the place that will be written.
          if (reaches)
            read_tile<T, W>(seq.step(a.h, hidden, t, q), first, count, seq.columns(q),
                            dx.row(q, first));
          typename Back::Visits visit(back, first);
          for (int64_t unit = first; unit < first + count; ++unit) {
            const T rate = a.rate ? a.rate[unit] : T(0);
            Vec<T, L> of_after[NV] = {};
            if (n + 1 < a.steps * stages)
              visit(of_after, unit, later.panel(q), after.read.row(q, unit));
            Vec<T, L> of_rate = load<T, L>(rate_sums + unit * L);
            RowWriter<T, L, NV, A> sums;
            sums.row = now.row(q, unit);
            for (int v = 0; v < NV; ++v) {
              const auto at = [&](const State<T, W>& state) { return state.row(q, unit) + v * L; };
              of_after[v] = read_backward(of_after[v], after, q, unit, v) - load<T, L>(at(leaked));
              Vec<T, L> of_start = load<T, L>(at(start)) + of_after[v];
              if (reaches) {
                of_after[v] = seq.template set_back<L>(t + 1, q * W + v * L, of_after[v]);
                of_start = seq.template set_back<L>(t + 1, q * W + v * L, of_start);
              }
              Vec<T, L> of_end = load<T, L>(at(end));
              if (last) {
                if (last_of_step) of_start += of_end;
                if (std::isfinite(clip)) {
                  const Vec<T, L> reached =
                      reaches ? load<T, L>(at(dx)) : state_at(after, q, unit, v);
                  of_start = (reached < clip) & (reached > -clip) ? of_start : Vec<T, L>{};
                }
                of_end = of_start;
                store<T, L>(at(end), of_end);
              }
              store<T, L>(at(start), of_start);
              const Vec<T, L> share = weight * of_end + node * of_after[v], of_k = dt[v] * share;
              const Vec<T, L> y = load<T, L>(at(drive_of_all));
              const Vec<T, L> state = state_at(before, q, unit, v);
              const Vec<T, L> of_sum = cell.template backward<Math>(y, rate, of_k);
              store<T, L>(at(leaked), rate * of_k);
              sums.set(v, of_sum);
              store<T, L>(at(dx), last_of_step ? of_sum : load<T, L>(at(dx)) + of_sum);
              of_rate += of_k * cell.of_rate(y, state);
              dt_gradient.add(t, q, unit, v, cell.derivative(y, rate, state) * share);
            }
            store<T, L>(rate_sums + unit * L, of_rate);
          }
          if (m == 0 && a.dx)
            write_tile<T, W>(dx.row(q, first), seq.step(a.dx, hidden, t, q), first, count,
                             seq.columns(q));
        });
        team.barrier();
      }
      if (team.rank == 0) dt_gradient.finish(t);
    }
    if (a.drate)
      for (int64_t row = rows.first; row < rows.last; ++row)
        a.drate[row] = sum_of_lanes<T, L>(load<T, L>(rate_sums + row * L));
    // Products may read something else than zeros where the first state is zero.
    if (a.dh0 || (a.dvalues && !Cell::kReadsState))
      write_initial_gradient(back, seq, rows, hidden, end.row(0, rows.first), a.dh0,
                             [&](auto& visit, int64_t q, int64_t unit, Vec<T, L>(&sum)[NV]) {
                               const Between<T, A, W> first = h.at(-1);
                               visit(sum, unit, dz.at(0).panel(q), first.read.row(q, unit));
                               for (int v = 0; v < NV; ++v) {
                                 sum[v] = read_backward(sum[v], first, q, unit, v) +
                                          load<T, L>(start.row(q, unit) + v * L) -
                                          load<T, L>(leaked.row(q, unit) + v * L);
                                 sum[v] = seq.template set_back<L>(0, q * W + v * L, sum[v]);
                               }
                             });
    back.finish(rows);
  });
}

// The same for any batch.
template <class Cell, typename T, typename A>
inline void continuous_forward(const ContinuousForward<T, A>& a, const Cell& cell) {
  with_panels<T, A>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    forward_loop<Cell, T, A, decltype(lanes)::value, decltype(vectors)::value>(a, cell, panels);
  });
}

template <class Cell, typename T, typename A>
inline void continuous_backward(const ContinuousBackward<T, A>& a, const Cell& cell) {
  with_panels<T, A>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    backward_loop<Cell, T, A, decltype(lanes)::value, decltype(vectors)::value>(a, cell, panels);
  });
}

}  // namespace
}  // namespace sparse_engine
