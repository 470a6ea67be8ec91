// The micro-kernel that all products share: one row of a sparse matrix times a panel.
#pragma once

#include <type_traits>

#include "products/rows_dot.h"
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

// sum += sum over links p in [first, end) of values[p] * X[idx[p], :]. The sums stay in registers
// for the whole row, and two links are in flight, each with sums of its own: one chain of
// multiply-adds would wait for its own latency, and more than two were measured to gain nothing.
// There are `nnz` links whose indices may be read.
template <typename T, int L, int NV, bool kRowsAhead, typename A>
SE_INLINE void row_product(Vec<T, L> (&sum)[NV], const T* values, const int32_t* idx, int64_t first,
                           int64_t end, int64_t nnz, const LinkPrefetch& prefetch, const A* x) {
  Vec<T, L> other[NV] = {};
  int64_t p = first;
  for (; p + 2 <= end; p += 2) {
    if constexpr (kRowsAhead) fetch_rows<L * NV>(idx, p + prefetch.rows, 2, nnz, x);
    fetch_streams(prefetch, p, idx, values);
    add_link<T, L, NV>(sum, values[p], idx[p], x);
    add_link<T, L, NV>(other, values[p + 1], idx[p + 1], x);
  }
  if (p < end) add_link<T, L, NV>(sum, values[p], idx[p], x);
  for (int v = 0; v < NV; ++v) sum[v] += other[v];
}

// A matrix that is multiplied row by row.
template <typename T, int L, int NV>
struct RowProduct {
  const Csr& w;
  const T* values;
  LinkPrefetch prefetch;

  // sums[r] += W[first + r, :] x for `count` rows and a single column.
  template <typename A>
  void rows(int64_t first, int count, const A* x, T* sums) const {
    add_rows<T>(values, w, first, count, prefetch.links, x, sums);
  }

  // sum += W[row, :] X
  template <typename A>
  SE_INLINE void operator()(Vec<T, L> (&sum)[NV], int64_t row, const A* x) const {
    const int64_t first = w.ptr[row], end = w.ptr[row + 1];
    if constexpr (L == 1) {
      sum[0] += row_dot<T>(values, w.idx, first, end, prefetch.links, x,
                           [](int64_t, auto, auto) SE_INLINE_LAMBDA {});
    } else {
      if (prefetch.rows > 0)
        row_product<T, L, NV, true>(sum, values, w.idx, first, end, w.nnz(), prefetch, x);
      else
        row_product<T, L, NV, false>(sum, values, w.idx, first, end, w.nnz(), prefetch, x);
    }
  }
};

// out[p] = values[permutation[p]] for this team member's share of the links p of w. Returns false,
// with some left out, where the permutation leads out of the values.
template <typename T>
inline bool permute_share(const Team& team, const T* values, const int32_t* permutation,
                          const Csr& w, T* out) {
  constexpr int64_t kTogether = 1024;
  const int64_t nnz = w.nnz(), end = team.last(nnz, kBlock);
  for (int64_t p = team.first(nnz, kBlock); p < end; p += kTogether) {
    const int64_t last = std::min(p + kTogether, end);
    if (!in_range(permutation + p, last - p, nnz)) return false;
    for (int64_t i = p; i < last; ++i) {
      keep_scalar(i);  // gathering vectors is slower
      out[i] = values[permutation[i]];
    }
  }
  return true;
}

}  // namespace
}  // namespace sparse_engine
