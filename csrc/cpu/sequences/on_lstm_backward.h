// The time loop of the ordered-neurons LSTM, backward. One member for each master sums over the
// units of each chunk, behind one more barrier.
#pragma once

#include "sequences/initial_gradient.h"
#include "sequences/master_gates.h"

namespace sparse_engine {
namespace {

template <typename T, typename A, int L, int NV>
void backward_loop(const OnLstmBackward<T, A>& a, int64_t panels) {
  constexpr int W = L * NV;
  constexpr bool kRounds = !std::is_same_v<T, A>;
  using Back = Adjoint<T, L, NV, A>;
  constexpr int64_t kTile = (kGates + 1) * kGateTile<W>;  // what was saved, and the gradient of h
  const int64_t hidden = a.w.cols, rows = a.w.rows, masters = kMasters * a.chunks;
  const int64_t chunk = hidden / a.chunks;
  const Sequence<T, W> seq{a.batch, panels, a.steps, nullptr, a.resets};
  const Job job = job_of_steps(a.threads, a.w.nnz(), rows, a.batch, a.steps);
  Scratch scratch(Ring<A, W>::bytes(2, rows, panels) + Ring<A, W>::bytes(2, hidden, panels) +
                  Ring<T, W>::bytes(2, hidden, panels) + Ring<T, W>::bytes(1, hidden, panels) +
                  Ring<T, W>::bytes(1, kMasters * hidden, panels) +
                  Ring<T, W>::bytes(2 * job.threads, masters, panels) +
                  Scratch::bytes_of<T>(Back::needs(a.wt)) + Scratch::bytes_of<T>(rows * L) +
                  Scratch::bytes_of<T>(job.threads * kTile));
  const Ring<A, W> du(scratch, 2, rows, panels);
  const Ring<A, W> h(scratch, 2, hidden, panels);
  const Ring<T, W> c(scratch, 2, hidden, panels);
  const State<T, W> carried = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  // What each unit adds to the gradients of the cumulative sums of its chunk.
  const State<T, W> dsums = Ring<T, W>(scratch, 1, kMasters * hidden, panels).at(0);
  const Ring<T, W> of_members(scratch, 2 * job.threads, masters, panels);
  const Back back(a.wt, a.permutation, a.dvalues, scratch.take<T>(Back::needs(a.wt)));
  T* bias_sums = scratch.take<T>(rows * L);
  T* tiles = scratch.take<T>(job.threads * kTile);

  run_team(job, [&](const Team& team) {
    const Rows units = rows_of(a.wt, team.rank, team.size, kBlock, kGates * kLinksPerGate);
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
    const auto read_state = [&](const A* array, const auto* initial, const auto& to, int64_t t,
                                int64_t q, int64_t first, int count) {
      if (t < 0)
        read_initial(seq, initial, to.at(t), q, first, count);
      else
        read_initial(seq, array + t * a.batch * hidden, to.at(t), q, first, count);
    };
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.dc_n, carried, q, first, count);
      read_state(a.c, a.c0, c, a.steps - 1, q, first, count);
    });
    team.barrier();

    for (int64_t t = a.steps - 1; t >= 0; --t) {
      const State<A, W> later = du.at(t + 1), now = du.at(t);
      for (int64_t q = 0; q < panels; ++q) {
        read_tile<T, W>(seq.step(a.saved, rows, t, q), 0, static_cast<int>(masters), seq.columns(q),
                        p.panel(q));
        for (int gate = 0; kRounds && gate < kMasters; ++gate)
          normalise<T, L, NV>(a.chunks, p.row(q, gate * a.chunks));
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
          RowWriter<T, L, NV, A> to[kGates];
          for (int g = 0; g < kGates; ++g) to[g].row = now.row(q, masters + g * hidden + unit);
          for (int v = 0; v < NV; ++v) {
            Vec<T, L> saved[kGates];
            for (int g = 0; g < kGates; ++g) {
              saved[g] = load<T, L>(tile + g * kGateTile<W> + r * W + v * L);
              if (OnLstm::is_sigmoid(g)) saved[g] = from_kept_sigmoid<T, L, A>(saved[g]);
            }
            const OnLstm::Unit<Vec<T, L>> cell{
                saved[0],
                saved[1],
                saved[2],
                saved[3],
                load<T, L>(master.row(q, unit / chunk) + v * L),
                load<T, L>(master.row(q, a.chunks + unit / chunk) + v * L)};
            T* carry = carried.row(q, unit) + v * L;
            Vec<T, L> dc = load<T, L>(carry), of_u[kGates], of_masters[kMasters];
            const Vec<T, L> before = seq.template set_back<L>(
                t, q * W + v * L, load<T, L>(c.at(t - 1).row(q, unit) + v * L));
            cell.template backward<VectorMath<T, L>>(load<T, L>(c.at(t).row(q, unit) + v * L),
                                                     before, sum[v], dc, of_u, of_masters);
            store<T, L>(carry, dc);
            for (int g = 0; g < kGates; ++g) {
              T* bias_sum = bias_sums + (masters + g * hidden + unit) * L;
              to[g].set(v, of_u[g]);
              store<T, L>(bias_sum, load<T, L>(bias_sum) + of_u[g]);
            }
            // The input's master is 1 minus a cumulative sum.
            store<T, L>(dsums.row(q, unit) + v * L, -of_masters[0]);
            store<T, L>(dsums.row(q, hidden + unit) + v * L, of_masters[1]);
          }
        }
        if (a.dx)
          for (int g = 0; g < kGates; ++g)
            write_tile<T, W>(now.row(q, masters + g * hidden + first), seq.step(a.dx, rows, t, q),
                             masters + g * hidden + first, count, columns);
        for (int g = 0; g < kGates; ++g)
          seq.set_back(t, q, count, now.row(q, masters + g * hidden + first));
        seq.set_back(t, q, count, carried.row(q, first));
      });
      team.barrier();
      for (int gate = team.rank; gate < kMasters; gate += team.size)
        for (int64_t q = 0; q < panels; ++q) {
          const int64_t first = gate * a.chunks;
          // The masters themselves are not read any more.
          T* const of_u = computed_in<T>(now.row(q, first), master.row(q, first));
          cumsoftmax_backward<T, L, NV>(p.row(q, first), dsums.row(q, gate * hidden), a.chunks,
                                        chunk, of_u);
          for (int64_t k = 0; k < a.chunks; ++k) {
            T* bias_sum = bias_sums + (first + k) * L;
            Vec<T, L> row[NV];
            load_row<T, L>(of_u + k * W, row);
            for (int v = 0; v < NV; ++v) store<T, L>(bias_sum, load<T, L>(bias_sum) + row[v]);
            if (kRounds) store_row<T, L>(now.row(q, first + k), row);
          }
          if (a.dx)
            write_tile<T, W>(now.row(q, first), seq.step(a.dx, rows, t, q), first,
                             static_cast<int>(a.chunks), seq.columns(q));
          seq.set_back(t, q, a.chunks, now.row(q, first));
        }
      team.barrier();
    }
    rows_of_bias([&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; ++row)
        a.dbias[row] = sum_of_lanes<T, L>(load<T, L>(bias_sums + row * L));
    });
    if (a.h0) {
      seq.tiles(units, [&](int64_t q, int64_t first, int count) {
        write_tile<T, W>(carried.row(q, first), seq.step(a.dc0, hidden, 0, q), first, count,
                         seq.columns(q));
      });
      write_initial_gradient(back, seq, units, hidden, dh_tile, a.dh0,
                             [&](auto& visit, int64_t q, int64_t unit, Vec<T, L>(&sum)[NV]) {
                               visit(sum, unit, du.at(0).panel(q), h.at(-1).row(q, unit));
                             });
    }
    back.finish(units);
  });
}

}  // namespace
}  // namespace sparse_engine
