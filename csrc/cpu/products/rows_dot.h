// Rows of a sparse matrix times a single column.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "runtime/panel.h"
#include "sparse_engine/matrix.h"

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

// L indices, read two at a time: loads are what limits products with a single column.
template <int L>
class IndicesInPairs {
 public:
  SE_INLINE explicit IndicesInPairs(const int32_t* idx) {
    for (int i = 0; i < L / 2; ++i) {
      uint64_t pair;
      std::memcpy(&pair, idx + 2 * i, sizeof pair);
      asm("" : "+r"(pair));  // Otherwise compilers load each half by itself.
      pairs_[i] = pair;
    }
  }
  SE_INLINE int64_t operator[](int l) const {
    return l % 2 == 0 ? static_cast<uint32_t>(pairs_[l / 2]) : pairs_[l / 2] >> 32;
  }

 private:
  uint64_t pairs_[L / 2];
};

// Keeps the compiler from making a loop over p one of vectors: multiplications and additions would
// then be rounded one by one or together, depending on what else is in the loop.
SE_INLINE void keep_scalar(int64_t& p) { asm("" : "+r"(p)); }

// Returns `even` plus the sum over links p in [first, end) of values[p] * x[idx[p]]. Two links are
// in flight. `and_then(p, count, row)` gets the entries of x that the links from p on read:
// Int<K>() for a vector of K, a number for fewer.
template <typename T, typename A, class AndThen>
SE_INLINE T dot_of_few(T even, const T* values, const int32_t* idx, int64_t first, int64_t end,
                       const A* x, const AndThen& and_then) {
  const auto product = [&](int64_t p) SE_INLINE_LAMBDA {
    const T entry = load<T, 1>(x + idx[p]);
    and_then(p, Int<1>(), entry);
    return values[p] * entry;
  };
  T odd = T(0);
  int64_t p = first;
  for (; p + 2 <= end; p += 2) {
    even += product(p);
    odd += product(p + 1);
    keep_scalar(p);
  }
  if (p < end) even += product(p);
  return even + odd;
}

// Whether the last links of a row, fewer than a vector, are multiplied at once, by instructions
// that leave out lanes. Gathering costs as much as a loop over three links, but the end of that
// loop is mispredicted in nearly every row.
#if defined(__AVX512VL__)
template <typename T, typename A>
constexpr bool kGathersLast = std::is_same_v<A, T>;

// The first `count` of the entries of x at idx, fewer than a vector; other lanes are zero.
SE_INLINE Vec<float, 8> gathered_first(const float* x, const int32_t* idx, int64_t count) {
  const __mmask8 lanes = first_lanes(count);
  const __m256i at = _mm256_maskz_loadu_epi32(lanes, idx);
  return reinterpret_cast<Vec<float, 8>>(
      _mm256_mmask_i32gather_ps(_mm256_setzero_ps(), lanes, at, x, 4));
}
SE_INLINE Vec<double, 4> gathered_first(const double* x, const int32_t* idx, int64_t count) {
  const __mmask8 lanes = first_lanes(count);
  const __m128i at = _mm_maskz_loadu_epi32(lanes, idx);
  return reinterpret_cast<Vec<double, 4>>(
      _mm256_mmask_i32gather_pd(_mm256_setzero_pd(), lanes, at, x, 8));
}

#else
template <typename T, typename A>
constexpr bool kGathersLast = false;
#endif

// Adds the products of whole vectors of links to `sum`, lanes over the links, from p on, which
// becomes the first link that is left.
template <typename T, int L, typename A, class AndThen>
SE_INLINE void add_vectors(Vec<T, L>& sum, const T* values, const int32_t* idx, int64_t& p,
                           int64_t end, bool links_ahead, const A* x, const AndThen& and_then) {
  for (; p + L <= end; p += L) {
    if (links_ahead) {
      fetch_stream(idx, p);
      fetch_stream(values, p);
    }
    const IndicesInPairs<L> columns(idx + p);
    const auto row =
        gathered<T, L>([&](int l) SE_INLINE_LAMBDA { return load<T, 1>(x + columns[l]); });
    sum += load<T, L>(values + p) * row;
    and_then(p, Int<L>(), row);
  }
}

#if defined(__AVX512VL__)
// Adds those of the links from p on, fewer than a vector.
template <typename T, int L, class AndThen>
SE_INLINE void add_last(Vec<T, L>& sum, const T* values, const int32_t* idx, int64_t p, int64_t end,
                        const T* x, const AndThen& and_then) {
  const auto row = gathered_first(x, idx + p, end - p);
  sum += load_first<T, L>(values + p, end - p) * row;
  and_then(p, end - p, row);
}
#endif

// As many links as a vector of those has lanes that are cheap to move about.
template <typename T>
constexpr int kLinksTogether = kShuffleBytes / static_cast<int>(sizeof(T));

// The same as dot_of_few for many links. A function of its own, since time loops have too few
// registers left for its pointers.
template <typename T, typename A, class AndThen>
SE_NOINLINE T dot_of_many(const T* values, const int32_t* idx, int64_t first, int64_t end,
                          bool links_ahead, const A* x, const AndThen and_then) {
  constexpr int L = kLinksTogether<T>;
  Vec<T, L> sum = {};
  int64_t p = first;
  add_vectors<T, L>(sum, values, idx, p, end, links_ahead, x, and_then);
#if defined(__AVX512VL__)
  if constexpr (kGathersLast<T, A>) {
    add_last<T, L>(sum, values, idx, p, end, x, and_then);
    return sum_of_lanes<T, L>(sum);
  }
#endif
  return dot_of_few(sum_of_lanes<T, L>(sum), values, idx, p, end, x, and_then);
}

// The same for any number of links. Few whole vectors do not repay the sum over lanes where the
// last links are multiplied one by one.
template <typename T, typename A, class AndThen>
SE_INLINE T row_dot(const T* values, const int32_t* idx, int64_t first, int64_t end,
                    bool links_ahead, const A* x, const AndThen& and_then) {
  constexpr int64_t kMany = 3 * kLinksTogether<T>;
  if (!kGathersLast<T, A> && end - first < kMany)
    return dot_of_few(T(0), values, idx, first, end, x, and_then);
  return dot_of_many<T>(values, idx, first, end, links_ahead, x, and_then);
}

#if defined(__AVX512VL__)
// Up to so many links of neighbouring rows, as many as a vector has lanes, are multiplied as one
// run. The ends of rows are then no branches, which would be mispredicted, and no gathers.
template <typename T>
constexpr int kShortRun = 16 * kLinksTogether<T>;

// sums[r] += W[first + r, :] x for as many rows as a vector has lanes, whose sums over lanes are
// taken together. Their links are such a run.
template <typename T>
SE_NOINLINE void add_short_rows(const T* values, const Csr& w, int64_t first, const T* x, T* sums) {
  constexpr int L = kLinksTogether<T>;
  const int64_t begin = w.ptr[first], end = w.ptr[first + L];
  alignas(64) T products[kShortRun<T>];
  int64_t p = begin;
  Vec<T, L> run = {};
  const auto keep = [&](int64_t at, int64_t count, auto) SE_INLINE_LAMBDA {
    store_first<T, L>(products + (at - begin), run, count);
    run = Vec<T, L>{};
  };
  add_vectors<T, L>(run, values, w.idx, p, end, false, x, keep);
  add_last<T, L>(run, values, w.idx, p, end, x, keep);
  int64_t longest = 0;
  for (int r = 0; r < L; ++r) longest = std::max(longest, w.ptr[first + r + 1] - w.ptr[first + r]);
  Vec<T, L> rows[L] = {};
  for (int64_t at = 0; at < longest; at += L)
#pragma GCC unroll 8
    for (int r = 0; r < L; ++r) {
      const int64_t from = w.ptr[first + r] + at;
      const int64_t left = std::clamp<int64_t>(w.ptr[first + r + 1] - from, 0, L);
      rows[r] += masked_load(products + (from - begin), first_lanes(left));
    }
  store<T, L>(sums, load<T, L>(sums) + sums_of<T, L>(rows));
}

// The same for longer rows.
template <typename T>
SE_NOINLINE void add_long_rows(const T* values, const Csr& w, int64_t first, bool links_ahead,
                               const T* x, T* sums) {
  constexpr int L = kLinksTogether<T>;
  const auto nothing = [](int64_t, auto, auto) SE_INLINE_LAMBDA {};
  Vec<T, L> rows[L];
  int64_t p = w.ptr[first];
  for (int r = 0; r < L; ++r) {
    const int64_t end = w.ptr[first + r + 1];
    Vec<T, L> sum = {};
    add_vectors<T, L>(sum, values, w.idx, p, end, links_ahead, x, nothing);
    add_last<T, L>(sum, values, w.idx, p, end, x, nothing);
    rows[r] = sum;
    p = end;
  }
  store<T, L>(sums, load<T, L>(sums) + sums_of<T, L>(rows));
}
#endif

// sums[r] += W[first + r, :] x for `count` rows.
template <typename T, typename A>
void add_rows(const T* values, const Csr& w, int64_t first, int count, bool links_ahead, const A* x,
              T* sums) {
  const auto nothing = [](int64_t, auto, auto) SE_INLINE_LAMBDA {};
  int r = 0;
#if defined(__AVX512VL__)
  constexpr int L = kLinksTogether<T>;
  if constexpr (kGathersLast<T, A>) {
    for (; r + L <= count; r += L) {
      const int64_t links = w.ptr[first + r + L] - w.ptr[first + r];
      if (links <= kShortRun<T>)
        add_short_rows<T>(values, w, first + r, x, sums + r);
      else
        add_long_rows<T>(values, w, first + r, links_ahead, x, sums + r);
    }
  }
#endif
  for (; r < count; ++r) {
    const int64_t begin = w.ptr[first + r], end = w.ptr[first + r + 1];
    sums[r] += row_dot<T>(values, w.idx, begin, end, links_ahead, x, nothing);
  }
}

}  // namespace
}  // namespace sparse_engine
