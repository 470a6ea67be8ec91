// The micro-kernel that all products share: one row of a sparse matrix times a panel.
#pragma once

#include "panel.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine {
namespace {

// How far ahead rows of X are fetched when X is larger than the second-level cache.
constexpr int kLinksAhead = 8;

// sum += sum over links p in [0, n) of values[p] * X[idx[p], :]. X is a panel of width L * NV.
// The sums stay in registers for the whole row; several links are in flight because one chain of
// multiply-adds would wait for its own latency. `last` is the last link whose index may be read.
template <typename T, int L, int NV, bool kPrefetch>
SE_INLINE void row_product(Vec<T, L> (&sum)[NV], const T* values, const int32_t* idx, int64_t n,
                           const int32_t* last, const T* x) {
  constexpr int kChains = NV == 1 ? 4 : 2;
  constexpr int W = L * NV;
  Vec<T, L> part[kChains][NV] = {};
  for (int v = 0; v < NV; ++v) part[0][v] = sum[v];
  int64_t p = 0;
  for (; p + kChains <= n; p += kChains) {
    for (int c = 0; c < kChains; ++c) {
      if constexpr (kPrefetch) {
        const int32_t* ahead = idx + p + c + kLinksAhead;
        const T* row = x + static_cast<int64_t>(*(ahead < last ? ahead : last)) * W;
        for (int line = 0; line < W * static_cast<int>(sizeof(T)); line += 64)
          __builtin_prefetch(reinterpret_cast<const char*>(row) + line);
      }
      const T weight = values[p + c];
      const T* row = x + static_cast<int64_t>(idx[p + c]) * W;
      for (int v = 0; v < NV; ++v) part[c][v] += weight * load<T, L>(row + v * L);
    }
  }
  for (; p < n; ++p) {
    const T* row = x + static_cast<int64_t>(idx[p]) * W;
    for (int v = 0; v < NV; ++v) part[0][v] += values[p] * load<T, L>(row + v * L);
  }
  for (int v = 0; v < NV; ++v) {
    if constexpr (kChains == 4)
      sum[v] = (part[0][v] + part[1][v]) + (part[2][v] + part[3][v]);
    else
      sum[v] = part[0][v] + part[1][v];
  }
}

// The same for a single column: lanes over the links instead of over the batch.
template <typename T>
SE_INLINE T row_dot(const T* values, const int32_t* idx, int64_t n, const T* x) {
  constexpr int L = kLanes<T>;
  Vec<T, L> sum = {};
  int64_t p = 0;
  for (; p + L <= n; p += L) {
    Vec<T, L> row;
    for (int l = 0; l < L; ++l) row[l] = x[idx[p + l]];
    sum += load<T, L>(values + p) * row;
  }
  T total = T(0);
  for (; p < n; ++p) total += values[p] * x[idx[p]];
  for (int l = 0; l < L; ++l) total += sum[l];
  return total;
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
      const int32_t* last = w.idx + w.nnz() - 1;
      if (prefetch)
        row_product<T, L, NV, true>(sum, values + begin, w.idx + begin, n, last, x);
      else
        row_product<T, L, NV, false>(sum, values + begin, w.idx + begin, n, last, x);
    }
  }
};

// out[p] = values[permutation[p]] for this team member's share of the links.
template <typename T>
inline void permute(const Team& team, const T* values, const int32_t* permutation, int64_t nnz,
                    T* out) {
  const int64_t last = team.last(nnz, kBlock);
  for (int64_t p = team.first(nnz, kBlock); p < last; ++p) out[p] = values[permutation[p]];
}

}  // namespace
}  // namespace sparse_engine
