// Indices from outside, looked at before they are used.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "runtime/simd.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine {
namespace {

// Whether all n indices are in [0, size), size < 2^31. Without a branch: an index that is too small
// has its highest bit set, one that is too large leaves it set when it is taken from the largest.
inline bool in_range(const int32_t* idx, int64_t n, int64_t size) {
  constexpr int L = kVectorBytes / 4;
  const uint32_t largest = static_cast<uint32_t>(size) - 1;
  Vec<uint32_t, L> outside_of[2] = {};
  int64_t p = 0;
  for (; p + 2 * L <= n; p += 2 * L)
    for (int i = 0; i < 2; ++i) {
      Vec<uint32_t, L> index;
      std::memcpy(&index, idx + p + i * L, sizeof index);
      outside_of[i] |= index | (largest - index);
    }
  const Vec<uint32_t, L> both = outside_of[0] | outside_of[1];
  uint32_t outside = 0;
  for (int lane = 0; lane < L; ++lane) outside |= both[lane];
  for (; p < n; ++p) {
    const uint32_t index = static_cast<uint32_t>(idx[p]);
    outside |= index | (largest - index);
  }
  return outside >> 31 == 0;
}

// Whether the links of these rows may be followed: their columns and, where it is given, their
// places in a permutation. They are looked at a tile of rows at a time, just before they are used,
// so that they come from far away once.
inline bool rows_in_range(const Csr& w, int64_t first, int64_t count,
                          const int32_t* permutation = nullptr) {
  const int64_t begin = w.ptr[first], links = w.ptr[first + count] - begin;
  return in_range(w.idx + begin, links, w.cols) &&
         (permutation == nullptr || in_range(permutation + begin, links, w.nnz()));
}

// Tells whoever called the kernel; any member of a team may.
inline void report(bool* out_of_range) { __atomic_store_n(out_of_range, true, __ATOMIC_RELAXED); }

}  // namespace
}  // namespace sparse_engine
