// Sums at the links only, over columns. A group of lanes has a row, or a piece of a long one; it
// keeps the row of a few panels in registers. Every link needs its sums over the lanes that share
// its columns, once for all of these panels.
//
// What is added up is a class of
//   kSums: how many sums a link has;
//   kGathered: how many arrays it looks at in the row of its other end;
//   kInFlight: links whose numbers a lane loads before it adds any of them up;
//   of<V>(row, panel, column): for V columns from `column` on, an object with
//     load(link, source): what a link's terms need;
//     add(loaded, sums): adds these terms to a link's sums.
#pragma once

#include "products/tiles.cuh"

namespace sparse_engine::cuda {
namespace {

// A[i] . X[j], the gradient of a link's value.
template <typename A>
struct Dots {
  using T = Computed<A>;
  static constexpr int kSums = 1, kGathered = 1, kInFlight = 4;

  Panels<A> a, x;

  template <int V>
  struct Of {
    Vec<T, V> own;
    Rows<A> x;

    __device__ Vec<A, V> load(int64_t, int source) const { return x.template load<V>(source); }
    __device__ void add(const Vec<A, V>& other, T* sums) const {
#pragma unroll
      for (int v = 0; v < V; ++v) sums[0] += own.at[v] * computed(other.at[v]);
    }
  };

  template <int V>
  __device__ Of<V> of(int64_t row, int64_t panel, int column) const {
    return {load<V>(a.row(panel, row) + column), x.rows(panel, column)};
  }
};

// The panels that are added up: those from a step on in which something is running.
struct Panelled {
  int64_t count = 0;  // of all panels
  int64_t of_step = 1, first_step = 0;
  int width = 1;
  Running running = {};

  __device__ bool runs(int64_t panel) const {
    const int64_t step = first_step + panel / of_step;
    return panel % of_step * width < running.columns(step, of_step * width);
  }
};

// Panels are kept as A.
template <typename A, class Terms = Dots<A>>
struct LinkSums {
  using T = Computed<A>;
  // Of the sums of the links that a lane loads.
  using Shares = Exchange<Terms::kInFlight * Terms::kSums>;

  Csr w;
  Pieces pieces;
  Lanes lanes;
  Terms terms;
  Panelled panels;
  T* sums;         // [kSums, nnz]
  Tiles<A> tiles;  // where they exist, they take the place of gathering

  // Adds the terms of some links of a row, or -1 for lanes without, in K panels from one on, to the
  // links' sums; or overwrites these. All lanes of a warp go round equally often; a link that does
  // not exist is loaded as one that does, and not written.
  template <int V, int K>
  __device__ void add(const Terms& of_panels, const Lane& lane, const Shares& shares, int64_t row,
                      const Links& links, int64_t panel, bool overwrite) const {
    constexpr int L = Terms::kInFlight, S = Terms::kSums;
    decltype(of_panels.template of<V>(0, 0, 0)) of[K];
#pragma unroll
    for (int k = 0; k < K; ++k)
      of[k] = of_panels.template of<V>(row < 0 ? 0 : row, panel + k, lane.column);
    const int there = static_cast<int>(links.last - links.first), most = largest(there);
    int left = there - lane.slot * L;  // links from this lane's next one on
    int64_t next = links.first + lane.slot * L;
    // Lanes without load the last link of a lane with links: a tile may hold no rows but those that
    // the links of its part look at.
    const int64_t end =
        __shfl_sync(~0u, links.last, largest(there ? static_cast<int>(threadIdx.x) % kWarp : 0));
    if (there == 0) next = end, left = 0;
    const int32_t* idx = w.idx + next;
    // Sum q is number q % S of link q / S, of the links that this lane loads.
    T* to = sums + (shares.first % S) * w.links + next + shares.first / S;
    const int first_left = shares.alone && there > 0 ? shares.first / S : INT32_MAX;
#pragma unroll 1
    for (int round = 0; round < most; round += lane.slots * L) {
      decltype(of[0].load(0, 0)) loaded[L][K];
      T own[L * S] = {};
      const T before = first_left < left && !overwrite ? *to : T(0);
      int link[L], source[L];
#pragma unroll
      for (int l = 0; l < L; ++l) link[l] = l < left ? l : left - 1;
#pragma unroll
      for (int l = 0; l < L; ++l) source[l] = idx[link[l]];
#pragma unroll
      for (int l = 0; l < L; ++l)
#pragma unroll
        for (int k = 0; k < K; ++k) loaded[l][k] = of[k].load(next + link[l], source[l]);
#pragma unroll
      for (int k = 0; k < K; ++k)
#pragma unroll
        for (int l = 0; l < L; ++l) of[k].add(loaded[l][k], own + l * S);
      shares.add(own);
      if (first_left < left) *to = before + own[0];
      // Where fewer lanes share columns than a lane loads links.
#pragma unroll 1
      for (int q = 1; q < shares.count; ++q) {
#pragma unroll
        for (int i = 1; i < L * S; ++i) own[i - 1] = own[i];
        T* const at = to + (q % S) * w.links + q / S;
        if (first_left < left - q / S) *at = (overwrite ? T(0) : *at) + own[0];
      }
      const int apart = lane.slots * L;
      next += apart, idx += apart, to += apart, left -= apart;
    }
  }
};

// Lanes for the columns of a panel, known at compile time where it has as many as it can.
template <int V, bool kFull>
__device__ int across(const Lanes& lanes) {
  return V == 1 ? 1 : kFull ? kMostWidth / V : lanes.across;
}

// Panels that are taken together, at most.
template <int V, class Terms>
constexpr int kPanelsTogether = (V == 1   ? 8
                                 : V == 8 ? 2
                                          : 4) /
                                Terms::kGathered;

// Adds panels [first, first + count) to the sums, or overwrites them; count <= kPanelsTogether.
template <typename A, int V, bool kFull, class Terms>
__global__ void __launch_bounds__(kThreads, 2)
    sum_links(const LinkSums<A, Terms> s, int64_t first, int count, bool overwrite) {
  constexpr int K = kPanelsTogether<V, Terms>;
  const Lane lane(s.lanes, V);
  const typename LinkSums<A, Terms>::Shares shares(across<V, kFull>(s.lanes) / 2, 1);
  for_each_item(s.lanes, s.w.rows + s.pieces.count(), [&](int64_t item) {
    const bool whole = item < s.w.rows;
    const int64_t row = whole ? item : s.pieces.row(item - s.w.rows);
    const Links links = item < 0 ? Links{0, 0}
                        : whole  ? s.pieces.of_row(s.w, row)
                                 : s.pieces.of_piece(s.w, item - s.w.rows);
    if (count == K)
      return s.template add<V, K>(s.terms, lane, shares, row, links, first, overwrite);
    for (int k = 0; k < count; ++k)
      s.template add<V, 1>(s.terms, lane, shares, row, links, first + k, overwrite && k == 0);
  });
}

template <int V>
constexpr int kThreadsOfTiles = kThreads * (V == 8 ? 2 : 3);

// The same for all panels, in turn. A block has some rows of a part, and so the same links in all
// panels.
template <typename A, int V, bool kFull>
__global__ void __launch_bounds__(kThreadsOfTiles<V>, 1)
    sum_links_by_tiles(const LinkSums<A> s, bool overwrite) {
  const Lane lane(s.lanes, V);
  const typename LinkSums<A>::Shares shares(across<V, kFull>(s.lanes) / 2, 1);
  const int cuts = s.tiles.tiling.cuts;
  for (int at = blockIdx.x; at < s.tiles.tiling.parts * cuts; at += gridDim.x)
    for (int64_t panel = 0; panel < s.panels.count; ++panel) {
      if (!s.panels.runs(panel)) continue;
      Dots<A> near = s.terms;
      near.x = s.tiles.template copy<V>(s.terms.x, panel, at / cuts, s.w.cols);
      s.tiles.each_row(s.w, at / cuts, at % cuts, [&](int64_t row, const Links& links) {
        s.template add<V, 1>(near, lane, shares, row, links, panel, overwrite && panel == 0);
      });
    }
}

// All panels, a few neighbours at a time, so that those that are gathered from stay in the
// second-level cache; runs(k) says whether panel k is one in which something is running.
template <typename A, class Terms, class Runs>
void sum_over_panels(const LinkSums<A, Terms>& s, const Shape& shape, bool accumulate,
                     const Stream& stream, const Runs& runs) {
  if (s.w.nnz() == 0) return;
  if (s.panels.count == 0 && !accumulate)
    return fill_zeros(s.sums, Terms::kSums * s.w.nnz(), stream);
  const int64_t bytes = Terms::kGathered * s.w.cols * shape.width * static_cast<int64_t>(sizeof(A));
  const int64_t fitting = attribute(cudaDevAttrL2CacheSize) / 2 / bytes;
  with_width<A>(shape, [&](auto vector, auto full) {
    if constexpr (std::is_same_v<Terms, Dots<A>>)
      if (s.tiles.exist()) {
        const auto kernel = sum_links_by_tiles<A, vector, full>;
        const auto config = on_all(kernel, kThreadsOfTiles<vector>, s.tiles.bytes(), stream);
        return check(cudaLaunchKernelEx(&config, kernel, s, !accumulate));
      }
    bool overwrite = !accumulate;
    const int64_t together = std::clamp<int64_t>(fitting, 1, kPanelsTogether<vector, Terms>);
    for (int64_t first = 0, last; first < s.panels.count; first = std::max(last, first + 1)) {
      for (last = first; last < s.panels.count && last < first + together && runs(last);) ++last;
      if (last == first) continue;
      launch(sum_links<A, vector, full, Terms>, (s.w.rows + s.pieces.places) * s.lanes.group,
             stream, s, first, static_cast<int>(last - first), overwrite);
      overwrite = false;
    }
  });
}

template <typename A, class Terms>
void sum_over_panels(const LinkSums<A, Terms>& s, const Shape& shape, bool accumulate,
                     const Stream& stream) {
  sum_over_panels(s, shape, accumulate, stream, [](int64_t) { return true; });
}

template <typename A, class Terms>
LinkSums<A, Terms> link_sums_of(const Csr& w, const Shape& shape, const Terms& terms,
                                const Panelled& panels, Computed<A>* sums, const Stream& stream) {
  const int64_t row = shape.width * static_cast<int64_t>(sizeof(A));
  LinkSums<A, Terms> s = {
      w, {}, Lanes::of(w.nnz(), w.rows, shape.width, shape.vector<A>()), terms, panels, sums, {}};
  if constexpr (std::is_same_v<Terms, Dots<A>>)
    s.tiles = tiles_of<A>(w, shape, panels.count, row, true, stream);
  if (s.tiles.exist())
    s.lanes = s.tiles.lanes;
  else
    s.pieces = pieces_of(w);
  return s;
}

}  // namespace
}  // namespace sparse_engine::cuda
