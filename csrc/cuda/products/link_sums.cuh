// Sums at the links only, over columns. A group of lanes has a row, or a piece of a long one; it
// keeps the row of a few panels in registers. Every link needs its sums over the lanes that share
// its columns, once for all of these panels.
//
// What is added up is a class of
//   kSums: how many sums a link has;
//   kGathered: how many arrays it looks at in the row of its other end;
//   kBlocks: how many blocks shall fit a multiprocessor;
//   own(panel, row): what it looks at in its own row;
//   add<V>(link, own, panel, source, column, sums): adds what V columns have to a link's sums.
#pragma once

#include "products/row_sums.cuh"

namespace sparse_engine::cuda {
namespace {

// Panels that are taken together, at most.
template <int V>
constexpr int kPanelsTogether = V == 1   ? 8
                                : V == 8 ? 2
                                         : 4;

// A[i] . B[j], the gradient of a link's value.
template <typename A>
struct Dots {
  using T = Computed<A>;
  static constexpr int kSums = 1, kGathered = 1, kBlocks = 4;

  Panels<A> a, b;

  __device__ const A* own(int64_t panel, int64_t row) const { return a.row(panel, row); }

  template <int V>
  __device__ void add(int64_t, const Vec<T, V>& own, int64_t panel, int64_t source, int column,
                      T (&sums)[1]) const {
    const Vec<T, V> other = load<V>(b.row(panel, source) + column);
#pragma unroll
    for (int v = 0; v < V; ++v) sums[0] += own.at[v] * other.at[v];
  }
};

// Panels are kept as A.
template <typename A, class Terms = Dots<A>>
struct LinkSums {
  using T = Computed<A>;

  Csr w;
  Pieces pieces;
  Lanes lanes;
  Terms terms;
  int64_t panels;
  T* sums;  // [kSums, nnz]
};

// Adds panels [first, first + count) to the sums, or overwrites them; count <= kPanelsTogether.
template <typename A, int V, class Terms>
__global__ void __launch_bounds__(kThreads, Terms::kBlocks)
    sum_links(const LinkSums<A, Terms> s, int64_t first, int count, bool overwrite) {
  using T = Computed<A>;
  constexpr int K = kPanelsTogether<V>, S = Terms::kSums;
  const Lane lane(s.lanes, V);
  const unsigned beside = (s.lanes.across < kWarp ? (1u << s.lanes.across) - 1 : ~0u)
                          << (threadIdx.x % kWarp / s.lanes.across * s.lanes.across);
  for_each_item(s.lanes, s.w.rows + s.pieces.slots, [&](int64_t item) {
    if (item < 0) return;
    const bool whole = item < s.w.rows;
    const int64_t row = whole ? item : s.pieces.slot_row[item - s.w.rows];
    if (row < 0) return;
    const Links links = whole ? s.pieces.of_row(s.w, row) : s.pieces.of_slot(s.w, item - s.w.rows);
    Vec<T, V> own[K];
#pragma unroll
    for (int k = 0; k < K; ++k)
      own[k] = k < count ? load<V>(s.terms.own(first + k, row) + lane.column) : Vec<T, V>{};
#pragma unroll(S == 1 ? 2 : 1)
    for (int64_t p = links.first + lane.slot; p < links.last; p += lane.slots) {
      T sums[S] = {};
#pragma unroll
      for (int k = 0; k < K; ++k)
        if (k < count) s.terms.template add<V>(p, own[k], first + k, s.w.idx[p], lane.column, sums);
#pragma unroll
      for (int i = 0; i < S; ++i) {
        for (int distance = s.lanes.across / 2; distance > 0; distance /= 2)
          sums[i] += __shfl_xor_sync(beside, sums[i], distance);
        T& to = s.sums[i * s.w.links + p];
        if (lane.column == 0) to = overwrite ? sums[i] : to + sums[i];
      }
    }
  });
}

// The panels k with counts(k), a few neighbours at a time, so that those that are gathered from
// stay in the second-level cache.
template <typename A, class Terms, class Counts>
void sum_over_panels(const LinkSums<A, Terms>& s, const Shape& shape, bool accumulate,
                     const Stream& stream, const Counts& counts) {
  if (s.w.nnz() == 0) return;
  const int64_t bytes = Terms::kGathered * s.w.cols * shape.width * static_cast<int64_t>(sizeof(A));
  const int64_t fitting = attribute(cudaDevAttrL2CacheSize) / 2 / bytes;
  bool overwrite = !accumulate;
  with_vector<A>(shape, [&](auto vector) {
    const int64_t together = std::clamp<int64_t>(fitting, 1, kPanelsTogether<vector>);
    for (int64_t first = 0, last; first < s.panels; first = std::max(last, first + 1)) {
      for (last = first; last < s.panels && last < first + together && counts(last);) ++last;
      if (last == first) continue;
      launch(sum_links<A, vector, Terms>, (s.w.rows + s.pieces.slots) * s.lanes.group, stream, s,
             first, static_cast<int>(last - first), overwrite);
      overwrite = false;
    }
  });
  if (overwrite) fill_zeros(s.sums, Terms::kSums * s.w.nnz(), stream);
}

// All of them.
template <typename A, class Terms>
void sum_over_panels(const LinkSums<A, Terms>& s, const Shape& shape, bool accumulate,
                     const Stream& stream) {
  sum_over_panels(s, shape, accumulate, stream, [](int64_t) { return true; });
}

template <typename A, class Terms>
LinkSums<A, Terms> link_sums_on(const Csr& w, const Shape& shape, const Terms& terms,
                                int64_t panels, Computed<A>* sums, const Stream& stream) {
  const int vector = shape.width == 1 ? 1 : kVector<A>;
  return {w,   pieces_of(w, stream), Lanes::of(w.nnz(), w.rows, shape.width, vector), terms, panels,
          sums};
}

// The same for panels that are kept as the sums are.
template <typename T, class Terms>
LinkSums<T, Terms> link_sums_of(const Csr& w, const Shape& shape, const Terms& terms,
                                int64_t panels, T* sums, const Stream& stream) {
  return link_sums_on<T>(w, shape, terms, panels, sums, stream);
}

// G[i, j] = sum_k A_k[i] . B_k[j] over panels k.
template <typename A>
LinkSums<A> link_sums_of(const Csr& w, const Shape& shape, const Panels<A>& a, const Panels<A>& b,
                         int64_t panels, Computed<A>* gradient, const Stream& stream) {
  return link_sums_on<A>(w, shape, Dots<A>{a, b}, panels, gradient, stream);
}

}  // namespace
}  // namespace sparse_engine::cuda
