// The gradient of links: G[i, j] = sum_k A_k[i] . B_k[j] over panels k, at the links only. A group
// of lanes has a row, or a piece of a long one; it keeps the row of a few panels of A in registers.
// Every link needs a sum over the lanes that share its columns, once for all of these panels.
#pragma once

#include "product.cuh"

namespace sparse_engine::cuda {
namespace {

// Panels that are taken together, at most.
template <int V>
constexpr int kPanelsTogether = V == 1   ? 8
                                : V == 8 ? 2
                                         : 4;

template <typename A>
struct LinkSums {
  using T = Computed<A>;

  Csr w;
  Pieces pieces;
  Lanes lanes;
  Panels<A> a, b;
  int64_t panels;  // of a and b
  T* gradient;     // [nnz]
};

// Adds panels [first, first + count) to the gradient, or overwrites it; count <= kPanelsTogether.
template <typename A, int V>
__global__ void __launch_bounds__(kThreads, 4)
    sum_links(const LinkSums<A> s, int64_t first, int count, bool overwrite) {
  using T = Computed<A>;
  constexpr int K = kPanelsTogether<V>;
  const Lane lane(s.lanes, V);
  const unsigned beside = (s.lanes.across < kWarp ? (1u << s.lanes.across) - 1 : ~0u)
                          << (threadIdx.x % kWarp / s.lanes.across * s.lanes.across);
  for_each_item(s.lanes, s.w.rows + s.pieces.slots, [&](int64_t item) {
    if (item < 0) return;
    const bool whole = item < s.w.rows;
    const int64_t row = whole ? item : s.pieces.slot_row[item - s.w.rows];
    if (row < 0) return;
    const Links links = whole ? s.pieces.of_row(s.w, row) : s.pieces.of_slot(s.w, item - s.w.rows);
    Vec<T, V> left[K];
#pragma unroll
    for (int k = 0; k < K; ++k)
      left[k] = k < count ? load<V>(s.a.row(first + k, row) + lane.column) : Vec<T, V>{};
#pragma unroll 2
    for (int64_t p = links.first + lane.slot; p < links.last; p += lane.slots) {
      T sum = 0;
#pragma unroll
      for (int k = 0; k < K; ++k) {
        if (k < count) {
          const Vec<T, V> right = load<V>(s.b.row(first + k, s.w.idx[p]) + lane.column);
#pragma unroll
          for (int v = 0; v < V; ++v) sum += left[k].at[v] * right.at[v];
        }
      }
      for (int distance = s.lanes.across / 2; distance > 0; distance /= 2)
        sum += __shfl_xor_sync(beside, sum, distance);
      if (lane.column == 0) s.gradient[p] = overwrite ? sum : s.gradient[p] + sum;
    }
  });
}

// The panels k with counts(k), a few neighbours at a time, so that those of B, which are gathered
// from, stay in the second-level cache.
template <typename A, class Counts>
void sum_over_panels(const LinkSums<A>& s, const Shape& shape, bool accumulate,
                     const Stream& stream, const Counts& counts) {
  if (s.w.nnz() == 0) return;
  const int64_t bytes = s.w.cols * shape.width * static_cast<int64_t>(sizeof(A));
  const int64_t fitting = attribute(cudaDevAttrL2CacheSize) / 2 / bytes;
  bool overwrite = !accumulate;
  with_vector<A>(shape, [&](auto vector) {
    const int64_t together = std::clamp<int64_t>(fitting, 1, kPanelsTogether<vector>);
    for (int64_t first = 0, last; first < s.panels; first = std::max(last, first + 1)) {
      for (last = first; last < s.panels && last < first + together && counts(last);) ++last;
      if (last == first) continue;
      launch(sum_links<A, vector>, (s.w.rows + s.pieces.slots) * s.lanes.group, stream, s, first,
             static_cast<int>(last - first), overwrite);
      overwrite = false;
    }
  });
  if (overwrite) fill_zeros(s.gradient, s.w.nnz(), stream);
}

// All of them.
template <typename A>
void sum_over_panels(const LinkSums<A>& s, const Shape& shape, bool accumulate,
                     const Stream& stream) {
  sum_over_panels(s, shape, accumulate, stream, [](int64_t) { return true; });
}

template <typename A>
LinkSums<A> link_sums_of(const Csr& w, const Shape& shape, const Panels<A>& a, const Panels<A>& b,
                         int64_t panels, Computed<A>* gradient, const Stream& stream) {
  const int vector = shape.width == 1 ? 1 : kVector<A>;
  return {w, pieces_of(w, stream), Lanes::of(w, shape.width, vector), a, b, panels, gradient};
}

}  // namespace
}  // namespace sparse_engine::cuda
