// Selection of the smallest entries of a vector, in linear time.
#pragma once

#include <cstdint>

namespace sparse_engine {

// n scores to choose from.
template <typename T>
struct Scores {
  const T* entries;  // [n]
  int64_t n;
  bool negate;  // the scores are -entries
  T above;      // scores that are not greater are never chosen; NaN for no such bound
};

// Marks the `count` smallest scores; among equal ones those that come first. All of them where
// there are not more than `count`.
//   chosen [n]: written, overlaps nothing. count >= 0.
// Returns the position of a NaN (then `chosen` is unusable), or -1.
template <typename T>
int64_t smallest(const Scores<T>& scores, int64_t count, bool* chosen, int threads);

// SET's cut: marks all zeros, of p positive numbers the floor(share * p) nearest to zero, and
// likewise of the negative ones; among equal ones those that come first.
//   values [n]; chosen [n]: written, overlaps nothing. 0 <= share <= 1.
// Returns the position of a NaN (then `chosen` is unusable), or -1.
template <typename T>
int64_t nearest_zero(const T* values, int64_t n, double share, bool* chosen, int threads);

}  // namespace sparse_engine
