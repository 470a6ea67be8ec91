// Dot products of two rows of panels of the same width and order: which columns meet which lanes
// does not matter, so a row of pairs in bfloat16 is multiplied as it lies in memory.
#pragma once

#include "runtime/kept.h"

namespace sparse_engine {
namespace {

// Whether the processor multiplies such rows itself: two columns, and their sum, in each lane.
#if defined(__AVX512BF16__)
template <typename A, int W>
constexpr bool kMultipliesPairs = std::is_same_v<A, BFloat16> && W % 16 == 0;
#else
template <typename A, int W>
constexpr bool kMultipliesPairs = false;
#endif

// A row of L * NV numbers, kept as A, that stays in registers for its dot products with many
// others.
template <typename T, int L, int NV, typename A, bool = kMultipliesPairs<A, L * NV>>
class HeldRow {
 public:
  static constexpr int kLanes = L;
  // Sums of products, whose lanes are still to be summed.
  using Sums = Vec<T, kLanes>;

  SE_INLINE void load(const A* row) { load_row<T, L>(row, row_); }

  SE_INLINE void add_products(const A* other, Sums& sums) const {
    Vec<T, L> v[NV];
    load_row<T, L>(other, v);
    for (int i = 0; i < NV; ++i) sums += row_[i] * v[i];
  }

 private:
  Vec<T, L> row_[NV];
};

#if defined(__AVX512BF16__)
// Products are exact and sums rounded to the nearest float, as everywhere; but the instruction
// takes numbers below 2^-126 as zeros, and returns such sums as zeros.
SE_INLINE Vec<float, 16> sum_of_pairs(Vec<float, 16> sums, Vec<uint32_t, 16> a,
                                      Vec<uint32_t, 16> b) {
  return reinterpret_cast<Vec<float, 16>>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sums),
                                                           reinterpret_cast<__m512bh>(a),
                                                           reinterpret_cast<__m512bh>(b)));
}

SE_INLINE Vec<float, 8> sum_of_pairs(Vec<float, 8> sums, Vec<uint32_t, 8> a, Vec<uint32_t, 8> b) {
  return reinterpret_cast<Vec<float, 8>>(_mm256_dpbf16_ps(reinterpret_cast<__m256>(sums),
                                                          reinterpret_cast<__m256bh>(a),
                                                          reinterpret_cast<__m256bh>(b)));
}

template <int L, int NV>
class HeldRow<float, L, NV, BFloat16, true> {
 public:
  static constexpr int kLanes = L * NV % 32 == 0 ? 16 : 8;
  using Sums = Vec<float, kLanes>;

  SE_INLINE void load(const BFloat16* row) { std::memcpy(row_, row, sizeof row_); }

  SE_INLINE void add_products(const BFloat16* other, Sums& sums) const {
    Vec<uint32_t, kLanes> v[kVectors];
    std::memcpy(v, other, sizeof v);
    for (int i = 0; i < kVectors; ++i) sums = sum_of_pairs(sums, row_[i], v[i]);
  }

 private:
  static constexpr int kVectors = L * NV / 2 / kLanes;

  Vec<uint32_t, kLanes> row_[kVectors];
};
#endif

}  // namespace
}  // namespace sparse_engine
