// Simulated annealing of a graph's structural balance.
#pragma once

#include <cmath>
#include <cstdint>

#include "sparse_engine/philox.h"
#include "swap_graph.h"

namespace sparse_engine {

// What the annealing is after. Columns 2g and 2g + 1 of the graph's sums are what is balanced in
// group g, and all of it; the balance is the mean of the groups' shares.
struct Goal {
  double target;    // the balance that is wanted
  double scale;     // energy of a balance that is off by 1
  bool self_loops;  // whether swaps may make them
  uint64_t seed;
};

// Groups with nothing in them do not count; a graph with none at all is off by 1.
inline double energy(const std::vector<int64_t>& sums, const Goal& goal) {
  double shares = 0;
  int groups = 0;
  for (size_t c = 0; c < sums.size(); c += 2)
    if (sums[c + 1] > 0) {
      shares += static_cast<double>(sums[c]) / static_cast<double>(sums[c + 1]);
      ++groups;
    }
  return goal.scale * (groups == 0 ? 1.0 : std::abs(shares / groups - goal.target));
}

// Proposes swaps of two links, and keeps each with the probability of Metropolis et al. (1953).
//   first: number of the first proposal; proposal i is a function of the seed, i and the graph.
// Returns how many were kept.
inline int64_t anneal(SwapGraph& graph, const Goal& goal, double temperature, int64_t first,
                      int64_t proposals) {
  const uint64_t links = static_cast<uint64_t>(graph.links());
  double now = energy(graph.sums(), goal);
  int64_t kept = 0;
  for (int64_t i = first; links > 0 && i < first + proposals; ++i) {
    const Philox random = Philox::at(static_cast<uint64_t>(i), 0, 0, goal.seed);
    const int32_t k = static_cast<int32_t>(random.word[0] * links >> 32);
    const int32_t l = static_cast<int32_t>(random.word[1] * links >> 32);
    if (!graph.can_swap(k, l, goal.self_loops)) continue;
    graph.swap(k, l);
    const double next = energy(graph.sums(), goal);
    const double uniform = std::ldexp(static_cast<double>(random.pair(1) >> 11), -53);
    if (uniform < std::exp((now - next) / temperature)) {
      now = next;
      ++kept;
    } else {
      graph.swap(k, l);
    }
  }
  return kept;
}

}  // namespace sparse_engine
