// The triads of many random graphs.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "degree_preserving.h"
#include "null_kinds.h"
#include "sparse_engine/failure.h"
#include "triads.h"

namespace sparse_engine {

// The links of a graph, in order.
inline std::vector<Arc> arcs_of(const Digraph& g) {
  std::vector<Arc> arcs;
  arcs.reserve(g.ptr[g.nodes]);
  for (int64_t i = 0; i < g.nodes; ++i)
    for (int64_t p = g.ptr[i]; p < g.ptr[i + 1]; ++p)
      arcs.push_back({g.idx[p], static_cast<int32_t>(i), static_cast<int32_t>(p)});
  return arcs;
}

// Random graph number `sample`: a function of the arguments alone, but for `moves`, which is added
// to.
inline std::vector<Arc> draw_arcs(const Digraph& g, const State* states, const NullKind& kind,
                                  uint64_t seed, uint32_t sample, Moves& moves) {
  std::vector<Arc> arcs = arcs_of(g);
  Random random(seed, sample);
  kind.draw(g.nodes, states, arcs, random, moves);
  return arcs;
}

// A graph made of arcs, and its links' states.
struct Drawn {
  std::vector<int64_t> ptr;
  std::vector<int32_t> idx;
  std::vector<State> states;

  Drawn(int64_t nodes, const std::vector<Arc>& arcs, const State* of)
      : ptr(nodes + 1), idx(arcs.size()), states(arcs.size()) {
    for (const Arc& arc : arcs) ++ptr[arc.target + 1];
    for (int64_t i = 0; i < nodes; ++i) ptr[i + 1] += ptr[i];
    std::vector<int64_t> next(ptr.begin(), ptr.end() - 1);
    for (const Arc& arc : arcs) {
      const int64_t at = next[arc.target]++;
      idx[at] = arc.source;
      states[at] = of[arc.origin];
    }
  }

  Digraph pattern() const { return {static_cast<int64_t>(ptr.size()) - 1, ptr.data(), idx.data()}; }
};

// count_triads of the random graphs number first to first + samples - 1, by type.
//   states [links].
//   type [kTriadCodes]: of each code, less than `types`.
//   counts [samples, types]: written; the same for any number of threads.
// Returns the moves of all of them.
inline Moves count_null_triads(const Digraph& g, const State* states, const NullKind& kind,
                               uint64_t seed, uint32_t first, int64_t samples, const int64_t* type,
                               int64_t types, int64_t* counts, int threads) {
  const Skeleton skeleton(g);
  std::fill_n(counts, samples * types, 0);
  int64_t edges = 0, changes = 0;
  Failure failure;
#pragma omp parallel for num_threads(threads) schedule(dynamic) reduction(+ : edges, changes)
  for (int64_t s = 0; s < samples; ++s) {
    Moves moves;
    failure.guard([&] {
      const std::vector<Arc> arcs = draw_arcs(g, states, kind, seed, first + uint32_t(s), moves);
      const Drawn drawn(g.nodes, arcs, states);
      std::vector<int64_t> histogram(kTriadCodes);
      if (kind.keeps_links())
        count_triads(skeleton, skeleton.codes(drawn.states.data()), histogram.data(), 1);
      else
        count_triads(drawn.pattern(), drawn.states.data(), histogram.data(), 1);
      for (int c = 0; c < kTriadCodes; ++c) counts[s * types + type[c]] += histogram[c];
    });
    edges += moves.edges;
    changes += moves.changes;
  }
  failure.rethrow();
  return {edges, changes};
}

}  // namespace sparse_engine
