// The micro-kernel that all products share: one row of a sparse matrix times a panel.
#pragma once

#include <type_traits>

#include "runtime/in_range.h"
#include "runtime/links.h"
#include "runtime/panel.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine {
namespace {

// sum += value * X[column, :]. X is a panel of width L * NV.
template <typename T, int L, int NV, typename A>
SE_INLINE void add_link(Vec<T, L> (&sum)[NV], T value, int32_t column, const A* x) {
  const A* row = x + static_cast<int64_t>(column) * (L * NV);
  Vec<T, L> x_row[NV];
  load_row<T, L>(row, x_row);
  for (int v = 0; v < NV; ++v) sum[v] += value * x_row[v];
}

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
    std::memcpy(pairs_, idx, sizeof pairs_);
    // Otherwise compilers load each half by itself.
    for (uint64_t& pair : pairs_) asm("" : "+r"(pair));
  }
  SE_INLINE int64_t operator[](int l) const {
    return l % 2 == 0 ? static_cast<uint32_t>(pairs_[l / 2]) : pairs_[l / 2] >> 32;
  }

 private:
  uint64_t pairs_[L / 2];
};

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

// sum += sum over links p in [first, end) of values[p] * X[idx[p], :]. The sums stay in registers
// for the whole row, and two links are in flight, each with sums of its own: one chain of
// multiply-adds would wait for its own latency, and more than two were measured to gain nothing.
// `last` is the last link whose index may be read.
template <typename T, int L, int NV, bool kRowsAhead, class Values, typename A>
SE_INLINE void row_product(Vec<T, L> (&sum)[NV], const Values& values, const int32_t* idx,
                           int64_t first, int64_t end, int64_t last, bool links_ahead, const A* x) {
  Vec<T, L> other[NV] = {};
  int64_t p = first;
  for (; p + 2 <= end; p += 2) {
    if constexpr (kRowsAhead) {
      fetch_row<L * NV>(idx, p + kLinksAhead, last, x);
      fetch_row<L * NV>(idx, p + kLinksAhead + 1, last, x);
    }
    if (links_ahead) {
      fetch_stream(idx, p);
      values.fetch_far(p);
    }
    values.fetch(p, last);
    values.fetch(p + 1, last);
    add_link<T, L, NV>(sum, values[p], idx[p], x);
    add_link<T, L, NV>(other, values[p + 1], idx[p + 1], x);
  }
  if (p < end) add_link<T, L, NV>(sum, values[p], idx[p], x);
  for (int v = 0; v < NV; ++v) sum[v] += other[v];
}

// Keeps the compiler from making a loop over p one of vectors: multiplications and additions would
// then be rounded one by one or together, depending on what else is in the loop.
SE_INLINE void keep_scalar(int64_t& p) { asm("" : "+r"(p)); }

// The same for a single column. `and_then(p, count, row)` gets the entries of X that the links from
// p on read: Int<K>() for a vector of K, a number for fewer.
template <typename T, class Values, typename A, class AndThen>
SE_INLINE T dot_of_few(T even, const Values& values, const int32_t* idx, int64_t first, int64_t end,
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
template <typename T, class Values, typename A>
constexpr bool kGathersLast = std::is_same_v<A, T> && std::is_same_v<Values, InOrder<T>>;

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

// Looks at columns just before they are followed: an extra visit to many links would read them from
// far away once more.
struct Looking {
  uint32_t cols;
  bool* fine;  // becomes false where a column is out of range

  // Whether the first `count` links, at most L, may be followed.
  template <int L>
  SE_INLINE bool allows(const int32_t* idx, int64_t count) const {
    const __mmask8 lanes = first_lanes(std::min<int64_t>(count, L));
    __mmask8 outside;
    if constexpr (L == 8)
      outside = _mm256_mask_cmpge_epu32_mask(lanes, _mm256_maskz_loadu_epi32(lanes, idx),
                                             _mm256_set1_epi32(cols));
    else
      outside =
          _mm_mask_cmpge_epu32_mask(lanes, _mm_maskz_loadu_epi32(lanes, idx), _mm_set1_epi32(cols));
    if (__builtin_expect(outside != 0, 0)) *fine = false;
    return outside == 0;
  }
};
#else
template <typename T, class Values, typename A>
constexpr bool kGathersLast = false;
#endif

// Stands for a look at columns that others have taken.
struct Trusting {
  template <int L>
  SE_INLINE bool allows(const int32_t*, int64_t) const {
    return true;
  }
};

// The same for many links: lanes over the links. The result means nothing where `look` allows some
// link not. A function of its own, since time loops have too few registers left for its pointers.
template <typename T, class Look, class Values, typename A, class AndThen>
SE_NOINLINE T dot_of_many(const Look look, const Values values, const int32_t* idx, int64_t first,
                          int64_t end, bool links_ahead, const A* x, const AndThen and_then) {
  constexpr int L = kShuffleBytes / static_cast<int>(sizeof(T));
  Vec<T, L> sum = {};
  int64_t p = first;
  for (; p + L <= end; p += L) {
    if (links_ahead) {
      fetch_stream(idx, p);
      values.fetch_far(p);
    }
    if (!look.template allows<L>(idx + p, L)) return T(0);
    const IndicesInPairs<L> columns(idx + p);
    const auto row =
        gathered<T, L>([&](int l) SE_INLINE_LAMBDA { return load<T, 1>(x + columns[l]); });
    sum += values.template neighbours<L>(p) * row;
    and_then(p, Int<L>(), row);
  }
  if constexpr (kGathersLast<T, Values, A>) {
    if (!look.template allows<L>(idx + p, end - p)) return T(0);
    const auto row = gathered_first(x, idx + p, end - p);
    and_then(p, end - p, row);
    return sum_of_lanes<T, L>(sum + load_first<T, L>(values.values + p, end - p) * row);
  } else {
    return dot_of_few(sum_of_lanes<T, L>(sum), values, idx, p, end, x, and_then);
  }
}

// The same for any number of links. Few whole vectors do not repay the sum over lanes where the
// last links are multiplied one by one.
template <typename T, class Values, typename A, class AndThen>
SE_INLINE T row_dot(const Values& values, const int32_t* idx, int64_t first, int64_t end,
                    bool links_ahead, const A* x, const AndThen& and_then) {
  constexpr int64_t kMany = 3 * kShuffleBytes / static_cast<int>(sizeof(T));
  if (!kGathersLast<T, Values, A> && end - first < kMany)
    return dot_of_few(T(0), values, idx, first, end, x, and_then);
  return dot_of_many<T>(Trusting(), values, idx, first, end, links_ahead, x, and_then);
}

// A matrix that is multiplied row by row.
template <typename T, int L, int NV, class Values = InOrder<T>>
struct RowProduct {
  const Csr& w;
  Values values;
  Ahead ahead;

  // Whether there is looking() for a panel that is kept as A.
  template <typename A>
  static constexpr bool kLooks = L == 1 && kGathersLast<T, Values, A>;

#if defined(__AVX512VL__)
  // sum += W[row, :] x for a single column and links that nobody has looked at. Where one leads out
  // of x, `fine` becomes false, and what is added means nothing.
  SE_INLINE void looking(Vec<T, L> (&sum)[NV], int64_t row, const T* x, bool& fine) const {
    sum[0] +=
        dot_of_many<T>(Looking{static_cast<uint32_t>(w.cols), &fine}, values, w.idx, w.ptr[row],
                       w.ptr[row + 1], ahead.links, x, [](int64_t, auto, auto) SE_INLINE_LAMBDA {});
  }
#endif

  // sum += W[row, :] X
  template <typename A>
  SE_INLINE void operator()(Vec<T, L> (&sum)[NV], int64_t row, const A* x) const {
    const int64_t first = w.ptr[row], end = w.ptr[row + 1];
    if constexpr (L == 1) {
      sum[0] += row_dot<T>(values, w.idx, first, end, ahead.links, x,
                           [](int64_t, auto, auto) SE_INLINE_LAMBDA {});
    } else {
      const int64_t last = w.nnz() - 1;
      if (ahead.rows)
        row_product<T, L, NV, true>(sum, values, w.idx, first, end, last, ahead.links, x);
      else
        row_product<T, L, NV, false>(sum, values, w.idx, first, end, last, ahead.links, x);
    }
  }
};

// This team member's share of permute() over all links of w. Returns false, with some left out,
// where the permutation leads out of the values.
template <typename T>
inline bool permute_share(const Team& team, const T* values, const int32_t* permutation,
                          const Csr& w, T* out) {
  constexpr int64_t kTogether = 1024;
  const int64_t nnz = w.nnz(), end = team.last(nnz, kBlock);
  for (int64_t p = team.first(nnz, kBlock); p < end; p += kTogether) {
    const int64_t last = std::min(p + kTogether, end);
    if (!in_range(permutation + p, last - p, nnz)) return false;
    permute(values, permutation, p, last, out);
  }
  return true;
}

}  // namespace
}  // namespace sparse_engine
