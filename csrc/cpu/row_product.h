// The micro-kernel that all products share: one row of a sparse matrix times a panel.
#pragma once

#include "links.h"
#include "panel.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine {
namespace {

// sum += value * X[column, :]. X is a panel of width L * NV.
template <typename T, int L, int NV>
SE_INLINE void add_link(Vec<T, L> (&sum)[NV], T value, int32_t column, const T* x) {
  const T* row = x + static_cast<int64_t>(column) * (L * NV);
  for (int v = 0; v < NV; ++v) sum[v] += value * load<T, L>(row + v * L);
}

// sum += sum over links p in [0, n) of values[p] * X[idx[p], :]. The sums stay in registers for the
// whole row, and two links are in flight, each with sums of its own: one chain of multiply-adds
// would wait for its own latency, and more than two were measured to gain nothing.
// `last` is the last link whose index may be read.
template <typename T, int L, int NV, bool kPrefetch>
SE_INLINE void row_product(Vec<T, L> (&sum)[NV], const T* values, const int32_t* idx, int64_t n,
                           const int32_t* last, const T* x) {
  Vec<T, L> other[NV] = {};
  int64_t p = 0;
  for (; p + 2 <= n; p += 2) {
    if constexpr (kPrefetch) {
      fetch_row<T, L * NV>(idx + p + kLinksAhead, last, x);
      fetch_row<T, L * NV>(idx + p + kLinksAhead + 1, last, x);
    }
    add_link<T, L, NV>(sum, values[p], idx[p], x);
    add_link<T, L, NV>(other, values[p + 1], idx[p + 1], x);
  }
  if (p < n) add_link<T, L, NV>(sum, values[p], idx[p], x);
  for (int v = 0; v < NV; ++v) sum[v] += other[v];
}

// The same for a single column: lanes over the links. Inserting the entries of X into a vector one
// by one is faster than the gather instructions.
template <typename T>
SE_INLINE T row_dot(const T* values, const int32_t* idx, int64_t n, const T* x) {
  constexpr int L = kShuffleBytes / static_cast<int>(sizeof(T));
  Vec<T, L> sum = {};
  int64_t p = 0;
  for (; p + L <= n; p += L) {
    Vec<T, L> row;
    for (int l = 0; l < L; ++l) row[l] = x[idx[p + l]];
    sum += load<T, L>(values + p) * row;
  }
  T even = T(0), odd = T(0);
  for (; p + 2 <= n; p += 2) {
    even += values[p] * x[idx[p]];
    odd += values[p + 1] * x[idx[p + 1]];
  }
  if (p < n) even += values[p] * x[idx[p]];
  return sum_of_lanes<T, L>(sum) + (even + odd);
}

// A matrix that is multiplied row by row: its pattern, and its values in the pattern's order.
template <typename T, int L, int NV>
struct RowProduct {
  const Csr& w;
  const T* values;
  bool prefetch;

  // sum += W[row, :] X
  SE_INLINE void operator()(Vec<T, L> (&sum)[NV], int64_t row, const T* x) const {
    const int64_t begin = w.ptr[row], n = w.ptr[row + 1] - begin;
    if constexpr (L == 1) {
      sum[0] += row_dot<T>(values + begin, w.idx + begin, n, x);
    } else {
      const int32_t* last = last_link(w);
      if (prefetch)
        row_product<T, L, NV, true>(sum, values + begin, w.idx + begin, n, last, x);
      else
        row_product<T, L, NV, false>(sum, values + begin, w.idx + begin, n, last, x);
    }
  }
};

// This team member's share of permute() over all links of w.
template <typename T>
inline void permute_share(const Team& team, const T* values, const int32_t* permutation,
                          const Csr& w, T* out) {
  const int64_t nnz = w.nnz();
  permute(values, permutation, team.first(nnz, kBlock), team.last(nnz, kBlock), out);
}

}  // namespace
}  // namespace sparse_engine
