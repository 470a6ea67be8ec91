// Indices from outside, looked at before they are used.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sparse_engine/matrix.h"

namespace sparse_engine {
namespace {

// Whether all n indices are in [0, size), size < 2^31. Without a branch, so that the loop becomes
// one of vectors: an index that is too small has its highest bit set, one that is too large leaves
// it set when it is taken from the largest.
inline bool in_range(const int32_t* idx, int64_t n, int64_t size) {
  const uint32_t largest = static_cast<uint32_t>(size) - 1;
  uint32_t outside = 0;
  for (int64_t p = 0; p < n; ++p) {
    const uint32_t index = static_cast<uint32_t>(idx[p]);
    outside |= index | (largest - index);
  }
  return outside >> 31 == 0;
}

// Rows are looked at in groups of this many, whose indices stay in the first-level cache until they
// are used.
constexpr int kRowsInSight = 16;

// Whether the links of the group of rows that begins with `row`, of those before `end`, may be
// followed: their columns and, where it is given, their places in a permutation.
inline bool may_follow(const Csr& w, const int32_t* permutation, int64_t row, int64_t end) {
  const int64_t first = w.ptr[row], last = w.ptr[std::min(row + kRowsInSight, end)];
  return in_range(w.idx + first, last - first, w.cols) &&
         (permutation == nullptr || in_range(permutation + first, last - first, w.nnz()));
}

// Tells whoever called the kernel; any member of a team may.
inline void report(bool* out_of_range) { __atomic_store_n(out_of_range, true, __ATOMIC_RELAXED); }

}  // namespace
}  // namespace sparse_engine
