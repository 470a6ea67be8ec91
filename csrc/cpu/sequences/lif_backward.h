// The backward pass of integrate-and-fire units over a sequence.
#pragma once

#include "cells/lif.h"
#include "products/adjoint.h"
#include "sequences/sequence.h"

namespace sparse_engine {
namespace {

// Only what counts is visited: the links of a unit that spiked, for their gradients, and those of a
// unit whose surrogate gradient is not zero.
template <typename T, int L, int NV>
void backward(const LifBackward<T>& a, int64_t panels) {
  constexpr int W = L * NV, K = kLanes<T>;
  using Number = Vec<T, K>;
  using Back = Adjoint<T, L, NV>;
  const int64_t units = a.w.rows, nnz = a.w.nnz(), kept = a.delay + 1;
  const Sequence<T, W> seq{a.batch, panels, a.steps};
  const Job job = job_of_steps(a.threads, nnz, units, a.batch, a.steps);
  constexpr int64_t kTile = kTileRows * W;
  Scratch scratch(Ring<T, W>::bytes(kept, units, panels) + 3 * Ring<T, W>::bytes(1, units, panels) +
                  Scratch::bytes_of<T>(Back::needs(a.wt)) + Scratch::bytes_of<T>(units * W) +
                  Scratch::bytes_of<T>(4 * job.threads * kTile));
  const Ring<T, W> arrived(scratch, kept, units, panels);
  const auto state = [&] { return Ring<T, W>(scratch, 1, units, panels).at(0); };
  const State<T, W> states[] = {state(), state(), state()};
  T* memory = scratch.take<T>(Back::needs(a.wt));
  T* bias_sums = scratch.take<T>(units * W);
  T* tiles = scratch.take<T>(4 * job.threads * kTile);
  const Back of_links(a.wt, a.permutation, a.dvalues, memory),
      plain(a.wt, a.permutation, nullptr, memory);
  const Lif<T, Number> unit(a.unit);
  const Lif<T, Vec<T, L>> of_row(a.unit);

  run_team(job, [&](const Team& team) {
    const Rows rows = rows_of(a.wt, team.rank, team.size, kBlock, kLinksPerGate);
    T* tile = tiles + 4 * team.rank * kTile;
    T *z = tile + kTile, *u = z + kTile, *closed = u + kTile;
    of_links.start(team, a.values, rows);
    std::fill(bias_sums + rows.first * W, bias_sums + rows.last * W, T(0));
    seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
      for (int s = 0; s < 3; ++s) {
        const bool given = a.dstate_n && s < a.unit.states();
        const T* from = given ? a.dstate_n + s * a.batch * units : nullptr;
        read_initial(seq, from, states[s], q, first, count);
      }
    });
    team.barrier();
    const auto is_zero = [](const Vec<T, L>(&x)[NV]) {
      T most = 0;
      for (int v = 0; v < NV; ++v) {
        const Vec<T, L> size = x[v] < Vec<T, L>{} ? -x[v] : x[v];
        most += sum_of_lanes<T, L>(size);
      }
      return most == 0;
    };
    const int64_t first_step = a.past ? -a.delay : 0;
    for (int64_t t = a.steps - 1; t >= first_step; --t) {
      const bool reaches = t + a.delay < a.steps;
      seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        const auto read = [&](const T* array, int64_t step, T* to) {
          read_tile<T, W>(seq.step(array, units, step, q), first, count, columns, to);
        };
        if (t < 0) {
          read(a.past, t + a.delay, z);
          std::fill(tile, tile + count * W, T(0));
        } else {
          read(a.z, t, z);
          read(a.dz, t, tile);
          read(a.u, t, u);
        }
        const T* later = arrived.at(t + a.delay).panel(q);
        for (int r = 0; reaches && r < count; ++r) {
          Vec<T, L> sum[NV], held[NV], slope[NV];
          load_row<T, L>(z + r * W, held);
          load_row<T, L>(u + r * W, slope);
          for (int v = 0; v < NV; ++v) slope[v] = of_row.slope(slope[v]);
          load_row<T, L>(tile + r * W, sum);
          if (!is_zero(held))
            typename Back::Visits(of_links, first + r)(sum, first + r, later, z + r * W);
          else if (t < 0 ? a.dpast != nullptr : !is_zero(slope))
            typename Back::Visits(plain, first + r)(sum, first + r, later, z + r * W);
          store_row<T, L>(tile + r * W, sum);
        }
        if (t < 0) {
          if (a.dpast)
            write_tile<T, W>(tile, seq.step(a.dpast, units, t + a.delay, q), first, count, columns);
          return;
        }
        const T* rests = t > 0 ? a.u + (t - 1) * a.batch * units : a.rests;
        const bool drops = !a.unit.keeps_current && rests;
        if (drops) read(rests, 0, closed);
        T* now = arrived.at(t).row(q, first);
        for (int at = 0, n = count * W; at < n; at += K) {
          const auto get = [&](const T* from) { return load_first<T, K>(from + at, n - at); };
          const auto put = [&](T* to, Number x) { store_first<T, K>(to + at, x, n - at); };
          T* rows_of[] = {states[0].row(q, first), states[1].row(q, first),
                          states[2].row(q, first)};
          LifState<Number> d{get(rows_of[0]), get(rows_of[1]), get(rows_of[2])};
          Number shut = drops ? get(closed) : Number{};
          if (t > 0) {  // it spiked or rested in the step before
            const Number least = Number{} - std::numeric_limits<T>::max();
            shut = shut < least ? Number{} + T(1) : shut;
          }
          const Number sent = unit.backward(get(u), shut, get(tile), d);
          put(now, sent);
          put(rows_of[0], d.v);
          put(rows_of[1], d.i);
          if (a.unit.alpha) put(rows_of[2], d.g);
          T* sums = bias_sums + first * W;
          put(sums, get(sums) + sent);
        }
        if (a.dx) write_tile<T, W>(now, seq.step(a.dx, units, t, q), first, count, columns);
      });
      team.barrier();
    }
    seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
      for (int s = 0; a.dstate && s < a.unit.states(); ++s)
        write_tile<T, W>(states[s].row(q, first),
                         seq.step(a.dstate + s * a.batch * units, units, 0, q), first, count,
                         seq.columns(q));
    });
    for (int64_t row = rows.first; row < rows.last; ++row) {
      T sum = 0;
      for (int n = 0; n < W; ++n) sum += bias_sums[row * W + n];
      a.dbias[row] = sum;
    }
    of_links.finish(rows);
  });
}

}  // namespace
}  // namespace sparse_engine
