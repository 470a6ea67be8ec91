// Selection of the smallest entries of a vector, in linear time.
#pragma once

#include <cstdint>

namespace sparse_engine {

// Marks the `count` smallest of n scores; among equal ones those that come first.
//   scores [n]; chosen [n]: written, overlaps nothing. 0 <= count <= n.
// Returns the position of a NaN (then `chosen` is unusable), or -1.
template <typename T>
int64_t smallest(const T* scores, int64_t n, int64_t count, bool* chosen, int threads);

}  // namespace sparse_engine
