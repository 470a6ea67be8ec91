// The forward pass of integrate-and-fire units over a sequence.
#pragma once

#include "cells/lif.h"
#include "sequences/spikes.h"

namespace sparse_engine {
namespace {

// A visit to a link by an event costs as much as this many visits in rows: an event reads and
// writes the sums of its target, a row keeps them in registers.
constexpr int64_t kEventCost = 3;

template <typename T, int L, int NV>
void forward(const LifForward<T>& a, int64_t panels) {
  constexpr int W = L * NV, K = kLanes<T>;
  using Number = Vec<T, K>;
  const int64_t units = a.w.rows, nnz = a.w.nnz(), kept = a.delay + 1;
  const Sequence<T, W> seq{a.batch, panels, a.steps};
  const Job job = job_of_steps(a.threads, nnz, units, a.batch, a.steps);
  const size_t state_bytes = Ring<T, W>::bytes(1, units, panels);
  Scratch scratch(Ring<T, W>::bytes(kept, units, panels) + 5 * state_bytes +
                  SpikeLists::bytes(kept, units, panels, job.threads) + Scratch::bytes_of<T>(nnz) +
                  Scratch::bytes_of<T>(job.threads * kTileRows * W));
  const Ring<T, W> z(scratch, kept, units, panels);
  const auto state = [&] { return Ring<T, W>(scratch, 1, units, panels).at(0); };
  const State<T, W> v = state(), i = state(), g = state(), rests = state(), sums = state();
  const SpikeLists spikes(scratch, kept, units, panels, job.threads);
  T* values = scratch.take<T>(nnz);
  T* tiles = scratch.take<T>(job.threads * kTileRows * W);
  const Lif<T, Number> unit(a.unit);
  const State<T, W> states[] = {v, i, g};

  run_team(job, [&](const Team& team) {
    const Rows rows = rows_of(a.w, team.rank, team.size, kBlock, kLinksPerGate);
    T* tile = tiles + team.rank * kTileRows * W;
    bool permuted = false;
    for (int64_t t = -a.delay; t < 0; ++t)
      for (int64_t q = 0; q < panels; ++q) {
        SpikeLists::Writer list(spikes, a.wt, t, q, team.rank, rows.first);
        if (!a.past) continue;
        const int count = static_cast<int>(rows.last - rows.first);
        const T* past = a.past + (t + a.delay) * a.batch * units;
        read_initial(seq, past, z.at(t), q, rows.first, count);
        list.template add_rows<T, W>(z.at(t).row(q, rows.first), rows.first, count);
      }
    seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
      for (int s = 0; s < 3; ++s) {
        const bool given = a.state && s < a.unit.states();
        const T* from = given ? a.state + s * a.batch * units : nullptr;
        read_initial(seq, from, states[s], q, first, count);
      }
      read_initial(seq, a.rests, rests, q, first, count);
      std::fill(sums.row(q, first), sums.row(q, first + count), T(0));
    });
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      const int64_t sent = t - a.delay;
      for (int64_t q = 0; q < panels; ++q) {
        const int64_t arrivals = spikes.arrivals(sent, q);
        const bool events = arrivals * kEventCost < nnz;
        const T* from = z.at(sent).panel(q);
        if (events && arrivals > 0) {
          if (!permuted) {
            permute_share(team, a.values, a.permutation, a.wt, values);
            team.barrier();
            permuted = true;
          }
          if (team.rank == 0) tally(counters.event_products);
          by_events<T, L, NV>(spikes, sent, q, a.wt, values, rows, from, sums.panel(q));
        }
        SpikeLists::Writer list(spikes, a.wt, t, q, team.rank, rows.first);
        const int columns = seq.columns(q);
        for (int64_t first = rows.first; first < rows.last; first += kTileRows) {
          const int count = static_cast<int>(std::min<int64_t>(kTileRows, rows.last - first));
          T* sum = sums.row(q, first);
          if (!events)
            for (int r = 0; r < count; ++r) {
              Vec<T, L> of_row[NV];
              in_rows<T, L, NV>(of_row, a.w, a.values, first + r, from);
              store_row<T, L>(sum + r * W, of_row);
            }
          read_tile<T, W>(seq.step(a.x, units, t, q), first, count, columns, tile);
          if (a.bias)
            for (int r = 0; r < count; ++r)
              for (int n = 0; n < columns; ++n) tile[r * W + n] += a.bias[first + r];
          T* now = z.at(t).row(q, first);
          for (int at = 0, n = count * W; at < n; at += K) {
            const auto get = [&](const State<T, W>& of) {
              return load_first<T, K>(of.row(q, first) + at, n - at);
            };
            const auto put = [&](T* to, Number x) { store_first<T, K>(to + at, x, n - at); };
            LifState<Number> s{get(v), get(i), get(g)};
            Number rest = get(rests), u;
            const Number arrived =
                load_first<T, K>(tile + at, n - at) + load_first<T, K>(sum + at, n - at);
            put(now, unit.forward(arrived, Number{} + T(a.unit.refractory), s, rest, u));
            put(sum, Number{});
            put(v.row(q, first), s.v);
            put(i.row(q, first), s.i);
            if (a.unit.alpha) put(g.row(q, first), s.g);
            if (a.unit.rests()) put(rests.row(q, first), rest);
            put(tile, u);
          }
          list.template add_rows<T, W>(now, first, count);
          if (a.u) write_tile<T, W>(tile, seq.step(a.u, units, t, q), first, count, columns);
          write_tile<T, W>(now, seq.step(a.z, units, t, q), first, count, columns);
        }
      }
      team.barrier();
    }
    seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
      const int columns = seq.columns(q);
      for (int s = 0; s < a.unit.states(); ++s)
        write_tile<T, W>(states[s].row(q, first),
                         seq.step(a.state_n + s * a.batch * units, units, 0, q), first, count,
                         columns);
      if (a.rests_n)
        write_tile<T, W>(rests.row(q, first), seq.step(a.rests_n, units, 0, q), first, count,
                         columns);
    });
  });
}

}  // namespace
}  // namespace sparse_engine
