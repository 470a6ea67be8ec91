// Selection of the smallest entries of a vector, in linear time.
#pragma once

#include <cstdint>

namespace sparse_engine {

// Marks the `count` smallest of those of n scores that are greater than `above`; among equal ones
// those that come first. All of them where there are not more than `count`.
//   scores [n]; chosen [n]: written, overlaps nothing. count >= 0.
// Returns the position of a NaN (then `chosen` is unusable), or -1.
template <typename T>
int64_t smallest(const T* scores, int64_t n, int64_t count, T above, bool* chosen, int threads);

}  // namespace sparse_engine
