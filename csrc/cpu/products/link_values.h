// The values of a matrix's links, in the order of its pattern or of the transposed one.
#pragma once

#include <cstdint>
#include <utility>

#include "runtime/panel.h"
#include "runtime/simd.h"

namespace sparse_engine {
namespace {

// The vector whose lane l is entry(l). Inserting entries one by one is faster than the gather
// instructions. A loop over the lanes of a vector is not: it was compiled to twice as many loads.
template <typename T, int L, class Entry, int... I>
SE_INLINE Vec<T, L> gathered(const Entry& entry, std::integer_sequence<int, I...>) {
  return Vec<T, L>{entry(I)...};
}
template <typename T, int L, class Entry>
SE_INLINE Vec<T, L> gathered(const Entry& entry) {
  return gathered<T, L>(entry, std::make_integer_sequence<int, L>());
}

// The values of a matrix's links, in the order of its pattern.
template <typename T>
struct InOrder {
  const T* values;

  // The permutation that leads to the values.
  const int32_t* places() const { return nullptr; }
  SE_INLINE void fetch(int64_t, int64_t) const {}
  SE_INLINE void fetch_far(int64_t p) const { fetch_stream(values, p); }
  SE_INLINE T operator[](int64_t p) const { return values[p]; }
  // The values of L neighbouring links.
  template <int L>
  SE_INLINE Vec<T, L> neighbours(int64_t p) const {
    return load<T, L>(values + p);
  }
};

// The same where they are kept in the order of the transposed pattern.
template <typename T>
struct Permuted {
  const T* values;
  const int32_t* permutation;

  const int32_t* places() const { return permutation; }
  // Asks for the value that will be wanted a few links after p. Neighbours in the pattern are far
  // apart in the values, so that hardware does not foresee it.
  SE_INLINE void fetch(int64_t p, int64_t links) const {
    constexpr int64_t kAhead = 32;
    if (p + kAhead < links) __builtin_prefetch(values + permutation[p + kAhead]);
  }
  SE_INLINE void fetch_far(int64_t p) const { fetch_stream(permutation, p); }
  SE_INLINE T operator[](int64_t p) const { return values[permutation[p]]; }
  template <int L>
  SE_INLINE Vec<T, L> neighbours(int64_t p) const {
    return gathered<T, L>([&](int l) SE_INLINE_LAMBDA { return (*this)[p + l]; });
  }
};

}  // namespace
}  // namespace sparse_engine
