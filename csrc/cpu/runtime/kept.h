// How numbers are kept in memory: as they are computed, or half as wide (bfloat16).
#pragma once

#include <type_traits>

#include "runtime/simd.h"
#include "sparse_engine/bfloat16.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace sparse_engine {
namespace {

template <int L>
SE_INLINE Vec<float, L> as_float(Vec<uint32_t, L> bits) {
  Vec<float, L> v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

// The numbers whose upper halves these are. The compiler's own conversion takes a vector apart and
// puts it together again, which made products twice as slow.
template <int L>
SE_INLINE Vec<float, L> widened(const BFloat16* p) {
  Vec<uint32_t, L> bits;
  if constexpr (L == 1) {
    bits = p->bits;
#if defined(__AVX512F__)
  } else if constexpr (L == 16) {
    const auto half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    bits = reinterpret_cast<Vec<uint32_t, L>>(_mm512_maskz_cvtepu16_epi32(0xffff, half));
#endif
#if defined(__AVX2__)
  } else if constexpr (L == 8) {
    const auto half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    bits = reinterpret_cast<Vec<uint32_t, L>>(_mm256_cvtepu16_epi32(half));
#endif
  } else {
    for (int l = 0; l < L; ++l) bits[l] = p[l].bits;
  }
  return as_float<L>(bits << 16);
}

// Bits whose upper halves are these numbers in bfloat16. Half a unit in the last place is added, a
// little less where a tie must go down to be even. A NaN keeps its upper half, made quiet: the
// addition could carry it into infinity.
template <int L>
SE_INLINE Vec<uint32_t, L> rounded(Vec<float, L> v) {
  Vec<uint32_t, L> bits;
  std::memcpy(&bits, &v, sizeof bits);
  return v == v ? bits + 0x7fffu + ((bits >> 16) & 1u) : bits | 0x400000u;
}

// L numbers that are neighbours in memory, kept as A.
template <typename T, int L, typename A>
SE_INLINE Vec<T, L> load(const A* p) {
  if constexpr (std::is_same_v<T, A>) {
    Vec<T, L> v;
    std::memcpy(&v, p, sizeof v);
    return v;
  } else {
    return widened<L>(p);
  }
}

template <typename T, int L, typename A>
SE_INLINE void store(A* p, Vec<T, L> v) {
  if constexpr (std::is_same_v<T, A>) {
    std::memcpy(p, &v, sizeof v);
  } else if constexpr (L == 1) {
    p->bits = static_cast<uint16_t>(rounded<1>(v) >> 16);
  } else {
    const auto half = __builtin_convertvector(rounded<L>(v) >> 16, Vec<uint16_t, L>);
    std::memcpy(p, &half, sizeof half);
  }
}

// Whether instructions that leave out lanes load and store the first numbers of a vector.
#if defined(__AVX512VL__)
template <typename T, int L, typename A>
constexpr bool kMasks = std::is_same_v<T, A> && L * sizeof(T) == 32;

SE_INLINE __mmask8 first_lanes(int64_t count) { return count > 0 ? (1u << count) - 1 : 0; }
SE_INLINE Vec<float, 8> masked_load(const float* p, __mmask8 lanes) {
  return reinterpret_cast<Vec<float, 8>>(_mm256_maskz_loadu_ps(lanes, p));
}
SE_INLINE Vec<double, 4> masked_load(const double* p, __mmask8 lanes) {
  return reinterpret_cast<Vec<double, 4>>(_mm256_maskz_loadu_pd(lanes, p));
}
SE_INLINE void masked_store(float* p, Vec<float, 8> v, __mmask8 lanes) {
  _mm256_mask_storeu_ps(p, lanes, reinterpret_cast<__m256>(v));
}
SE_INLINE void masked_store(double* p, Vec<double, 4> v, __mmask8 lanes) {
  _mm256_mask_storeu_pd(p, lanes, reinterpret_cast<__m256d>(v));
}
#endif

// The same for the first `count` numbers only (all, if there are more); other lanes are zero.
template <typename T, int L, typename A>
SE_INLINE Vec<T, L> load_first(const A* p, int64_t count) {
  if (count >= L) return load<T, L>(p);
#if defined(__AVX512VL__)
  if constexpr (kMasks<T, L, A>) return masked_load(p, first_lanes(count));
#endif
  A first[L] = {};
  if (count > 0) std::memcpy(first, p, count * sizeof(A));
  return load<T, L>(first);
}

template <typename T, int L, typename A>
SE_INLINE void store_first(A* p, Vec<T, L> v, int64_t count) {
  if (count >= L) return store<T, L>(p, v);
#if defined(__AVX512VL__)
  if constexpr (kMasks<T, L, A>) return masked_store(p, v, first_lanes(count));
#endif
  A all[L];
  store<T, L>(all, v);
  if (count > 0) std::memcpy(p, all, count * sizeof(A));
}

// Whether the row of a panel of width W keeps two halves in one word: column i in the lower and
// column i + W / 2 in the upper half of word i. Two vectors then come of one load, without moving
// lanes about.
template <typename A, int W>
constexpr bool kPaired = std::is_same_v<A, BFloat16> && W % (2 * kLanes<float>) == 0;

// Where in its row a panel of width W keeps column n.
template <typename A, int W>
constexpr int place(int n) {
  return !kPaired<A, W> ? n : n < W / 2 ? 2 * n : 2 * n - W + 1;
}

// Columns [n, n + K) of such a row in `low`, and those W / 2 further on in `high`.
template <int K>
SE_INLINE void load_pair(const BFloat16* row, int n, Vec<float, K>& low, Vec<float, K>& high) {
  Vec<uint32_t, K> words;
  std::memcpy(&words, row + 2 * n, sizeof words);
  low = as_float<K>(words << 16);
  high = as_float<K>(words & 0xffff0000u);
}

template <int K>
SE_INLINE void store_pair(BFloat16* row, int n, Vec<float, K> low, Vec<float, K> high) {
  const Vec<uint32_t, K> words = (rounded<K>(low) >> 16) | (rounded<K>(high) & 0xffff0000u);
  std::memcpy(row + 2 * n, &words, sizeof words);
}

// The row of a panel, NV vectors of L columns.
template <typename T, int L, int NV, typename A>
SE_INLINE void load_row(const A* row, Vec<T, L> (&v)[NV]) {
  if constexpr (kPaired<A, L * NV>)
    for (int i = 0; i < NV / 2; ++i) load_pair<L>(row, i * L, v[i], v[i + NV / 2]);
  else
    for (int i = 0; i < NV; ++i) v[i] = load<T, L>(row + i * L);
}

template <typename T, int L, int NV, typename A>
SE_INLINE void store_row(A* row, const Vec<T, L> (&v)[NV]) {
  if constexpr (kPaired<A, L * NV>)
    for (int i = 0; i < NV / 2; ++i) store_pair<L>(row, i * L, v[i], v[i + NV / 2]);
  else
    for (int i = 0; i < NV; ++i) store<T, L>(row + i * L, v[i]);
}

// Vector v of such a row.
template <typename T, int L, int NV, typename A>
SE_INLINE Vec<T, L> load_of_row(const A* row, int v) {
  if constexpr (kPaired<A, L * NV>) {
    Vec<T, L> pair[2];
    load_pair<L>(row, v % (NV / 2) * L, pair[0], pair[1]);
    return pair[v / (NV / 2)];
  } else {
    return load<T, L>(row + v * L);
  }
}

// Writes such a row, vector by vector from the first on.
template <typename T, int L, int NV, typename A>
struct RowWriter {
  static constexpr int kHeld = kPaired<A, L * NV> ? NV / 2 : 0;

  A* row = nullptr;
  Vec<T, L> held[kHeld + 1] = {};

  SE_INLINE void set(int v, Vec<T, L> numbers) {
    if constexpr (kHeld == 0)
      store<T, L>(row + v * L, numbers);
    else if (v < kHeld)
      held[v] = numbers;
    else
      store_pair<L>(row, (v - kHeld) * L, held[v - kHeld], numbers);
  }
};

// Where rows of a panel are computed as T: in the panel, or elsewhere if it keeps them as A.
template <typename T, typename A>
SE_INLINE T* computed_in(A* panel_rows, T* elsewhere) {
  if constexpr (std::is_same_v<T, A>)
    return panel_rows;
  else
    return elsewhere;
}

}  // namespace
}  // namespace sparse_engine
