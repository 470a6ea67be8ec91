// Dot products of two rows of panels of the same width and order: which columns meet which lanes
// does not matter, so a row of pairs in bfloat16 is multiplied as it lies in memory.
#pragma once

#include "kept.h"

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

// A row of W numbers, kept as A, that stays in registers for its dot products with many others.
template <typename T, int K, int W, typename A, bool = kMultipliesPairs<A, W>>
class HeldRow {
 public:
  // Sums of products, whose lanes are still to be summed.
  using Sums = Vec<T, K>;

  SE_INLINE void load(const A* row) { load_row<T, K>(row, row_); }

  SE_INLINE void add_products(const A* other, Sums& sums) const {
    Vec<T, K> v[W / K];
    load_row<T, K>(other, v);
    for (int i = 0; i < W / K; ++i) sums += row_[i] * v[i];
  }

 private:
  Vec<T, K> row_[W / K];
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

template <int K, int W>
class HeldRow<float, K, W, BFloat16, true> {
  static constexpr int N = W % 32 == 0 ? 16 : 8, kVectors = W / 2 / N;

 public:
  using Sums = Vec<float, N>;

  SE_INLINE void load(const BFloat16* row) { std::memcpy(row_, row, sizeof row_); }

  SE_INLINE void add_products(const BFloat16* other, Sums& sums) const {
    Vec<uint32_t, N> v[kVectors];
    std::memcpy(v, other, sizeof v);
    for (int i = 0; i < kVectors; ++i) sums = sum_of_pairs(sums, row_[i], v[i]);
  }

 private:
  Vec<uint32_t, N> row_[kVectors];
};
#endif

}  // namespace
}  // namespace sparse_engine
