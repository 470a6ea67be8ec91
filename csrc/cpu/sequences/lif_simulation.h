// One sequence of integrate-and-fire units by events, of which only spikes are kept.
#pragma once

#include "cells/lif.h"
#include "sequences/spikes.h"

namespace sparse_engine {
namespace {

// Within its life, numbers that are nearly zero count as zeros: what decays for long would slow
// down the processor a hundredfold.
class FlushedToZero {
#if defined(__SSE2__)
 public:
  FlushedToZero() : before_(__builtin_ia32_stmxcsr()) {
    __builtin_ia32_ldmxcsr(before_ | 0x8040);  // flush to zero, denormals are zeros
  }
  ~FlushedToZero() { __builtin_ia32_ldmxcsr(before_); }
  FlushedToZero(const FlushedToZero&) = delete;
  FlushedToZero& operator=(const FlushedToZero&) = delete;

 private:
  const unsigned before_;
#endif
};

template <typename T>
void simulate(const LifSimulation<T>& a) {
  constexpr int K = kLanes<T>;
  using Number = Vec<T, K>;
  const int64_t units = a.wt.cols, kept = a.delay + 1;
  const Job job = job_of_steps(a.threads, 0, units, 1, a.steps);
  Scratch scratch(SpikeLists::bytes(kept, units, 1, job.threads) + Scratch::bytes_of<T>(units));
  const SpikeLists spikes(scratch, kept, units, 1, job.threads);
  T* sums = scratch.take<T>(units);
  T *v = a.state, *i = v + units, *g = i + (a.unit.alpha ? units : 0);
  const Lif<T, Number> unit(a.unit);
  const T open = a.unit.keeps_current ? 1 : 0;  // least that a unit rests where it is not driven

  run_team(job, [&](const Team& team) {
    const FlushedToZero flushed;
    const Rows rows{team.first(units, kBlock), team.last(units, kBlock)};
    const int count = static_cast<int>(rows.last - rows.first);
    for (int64_t t = -a.delay; t < 0; ++t)
      SpikeLists::Writer(spikes, a.wt, t, 0, team.rank, rows.first)
          .template add_rows<T, 1>(a.past + (t + a.delay) * units + rows.first, rows.first, count);
    std::fill(sums + rows.first, sums + rows.last, T(0));
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      spikes.each(t - a.delay, 0, [&](int64_t j) {
        const Rows links = links_into(a.wt, j, rows);
        for (int64_t p = links.first; p < links.last; ++p) sums[a.wt.idx[p]] += a.values[p];
      });
      for (int64_t e = a.first_event[t]; e < a.first_event[t + 1]; ++e) {
        const int64_t to = a.event_unit[e];
        if (to >= rows.first && to < rows.last && a.rests[to] <= open) v[to] += a.event_size[e];
      }
      SpikeLists::Writer list(spikes, a.wt, t, 0, team.rank, rows.first);
      for (int64_t at = rows.first; at < rows.last; at += K) {
        const auto get = [&](const T* from) { return load_first<T, K>(from + at, rows.last - at); };
        const auto put = [&](T* to, Number x) { store_first<T, K>(to + at, x, rows.last - at); };
        LifState<Number> s{get(v), get(i), get(g)};
        Number rest = get(a.rests), u;
        const Number arrived = get(sums);
        const bool arrives = any_bits(arrived);
        const bool still =
            !(arrives || any_bits(s.v) || any_bits(s.i) || any_bits(rest) || any_bits(s.g));
        if (still && a.unit.threshold > 0) continue;
        const Number after = a.refractory ? get(a.refractory) : Number{} + T(a.unit.refractory);
        const Number z = unit.forward(arrived, after, s, rest, u);
        if (arrives) put(sums, Number{});
        put(v, s.v);
        put(i, s.i);
        if (a.unit.alpha) put(g, s.g);
        put(a.rests, rest);
        if (!any_bits(z)) continue;
        T one[K];
        store<T, K>(one, z);
        list.template add_rows<T, 1>(one, at,
                                     static_cast<int>(std::min<int64_t>(K, rows.last - at)));
      }
      team.barrier();
      if (team.rank > 0) continue;
      spikes.each(t, 0, [&](int64_t j) { a.spikes->push_back(static_cast<int32_t>(j)); });
      (*a.first_spike)[t + 1] = static_cast<int64_t>(a.spikes->size());
    }
    std::fill(a.past + rows.first * a.delay, a.past + rows.last * a.delay, T(0));
    team.barrier();
    if (team.rank > 0) return;
    for (int64_t t = a.steps - a.delay; t < a.steps; ++t)
      spikes.each(t, 0, [&](int64_t j) { a.past[(t - a.steps + a.delay) * units + j] = 1; });
  });
}

}  // namespace
}  // namespace sparse_engine
