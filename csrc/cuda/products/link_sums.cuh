// Sums at the links only, over columns. A group of lanes has a row, or a piece of a long one; it
// keeps the row of a few panels in registers. Every link needs its sums over the lanes that share
// its columns, once for all of these panels.
//
// What is added up is a class of
//   kSums: how many sums a link has;
//   kGathered: how many arrays it looks at in the row of its other end;
//   kInFlight: links whose numbers a lane loads before it adds any of them up;
//   kBlocks: how many blocks shall fit a multiprocessor;
//   own(panel, row): what it looks at in its own row;
//   load<V>(link, panel, source, column): what V columns of a link's terms need; if that is zeros,
//     the terms are zeros;
//   add(loaded, own, sums): adds these terms to a link's sums.
#pragma once

#include "products/tiles.cuh"

namespace sparse_engine::cuda {
namespace {

// Panels that are taken together, at most.
template <int V, class Terms>
constexpr int kPanelsTogether = (V == 1   ? 8
                                 : V == 8 ? 2
                                          : 4) /
                                Terms::kGathered;

// A[i] . X[j], the gradient of a link's value.
template <typename A>
struct Dots {
  using T = Computed<A>;
  static constexpr int kSums = 1, kGathered = 1, kInFlight = 2, kBlocks = 3;

  Panels<A> a, x;

  __device__ const A* own(int64_t panel, int64_t row) const { return a.row(panel, row); }

  template <int V>
  __device__ Vec<A, V> load(int64_t, int64_t panel, int source, int column) const {
    return load_kept<V>(x.row(panel, 0) + column +
                        int64_t{source} * static_cast<int>(x.row_stride));
  }
  template <int V>
  __device__ void add(const Vec<A, V>& other, const Vec<T, V>& own, T (&sums)[1]) const {
#pragma unroll
    for (int v = 0; v < V; ++v) sums[0] += own.at[v] * computed(other.at[v]);
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

// Adds up what all lanes that share links have of a batch of L, and adds it to the links' sums
// [S, links], or overwrites them. Each of these lanes writes some of the links.
template <int L, int S, typename T>
__device__ void write_link_sums(const Lanes& lanes, const Lane& lane, int64_t link,
                                const int (&source)[L], bool overwrite, T (&of_link)[L][S], T* sums,
                                int64_t links) {
  const int at = static_cast<int>(threadIdx.x) % lanes.across;
  const unsigned beside = (lanes.across < kWarp ? (1u << lanes.across) - 1 : ~0u)
                          << (threadIdx.x % kWarp - at);
  T before[L][S];
#pragma unroll
  for (int l = 0; l < L; ++l)
#pragma unroll
    for (int i = 0; i < S; ++i) {
      const bool reads = source[l] >= 0 && at == l % lanes.across && !overwrite;
      before[l][i] = reads ? sums[i * links + link + l * lane.slots] : T(0);
    }
  for (int distance = lanes.across / 2; distance > 0; distance /= 2)
#pragma unroll
    for (int l = 0; l < L; ++l)
#pragma unroll
      for (int i = 0; i < S; ++i) of_link[l][i] += __shfl_xor_sync(beside, of_link[l][i], distance);
#pragma unroll
  for (int l = 0; l < L; ++l)
#pragma unroll
    for (int i = 0; i < S; ++i)
      if (source[l] >= 0 && at == l % lanes.across)
        sums[i * links + link + l * lane.slots] = before[l][i] + of_link[l][i];
}

// Panels are kept as A.
template <typename A, class Terms = Dots<A>>
struct LinkSums {
  using T = Computed<A>;

  Csr w;
  Pieces pieces;
  Lanes lanes;
  Terms terms;
  Panelled panels;
  T* sums;         // [kSums, nnz]
  Tiles<A> tiles;  // where they exist, they take the place of gathering

  template <int L>
  __device__ void write(const Lane& lane, int64_t link, const int (&source)[L], bool overwrite,
                        T (&of_link)[L][Terms::kSums]) const {
    write_link_sums(lanes, lane, link, source, overwrite, of_link, sums, w.links);
  }
};

// Adds panels [first, first + count) to the sums, or overwrites them; count <= kPanelsTogether.
template <typename A, int V, class Terms>
__global__ void __launch_bounds__(kThreads, Terms::kBlocks)
    sum_links(const LinkSums<A, Terms> s, int64_t first, int count, bool overwrite) {
  using T = Computed<A>;
  constexpr int K = kPanelsTogether<V, Terms>, L = Terms::kInFlight;
  const Lane lane(s.lanes, V);
  for_each_item(s.lanes, s.w.rows + s.pieces.count(), [&](int64_t item) {
    if (item < 0) return;
    const bool whole = item < s.w.rows;
    const int64_t row = whole ? item : s.pieces.row(item - s.w.rows);
    const Links links = whole ? s.pieces.of_row(s.w, row) : s.pieces.of_piece(s.w, item - s.w.rows);
    Vec<T, V> own[K];
#pragma unroll
    for (int k = 0; k < K; ++k)
      own[k] = k < count ? load<V>(s.terms.own(first + k, row) + lane.column) : Vec<T, V>{};
    for_each_batch<L>(links, lane.slot, lane.slots, s.w.idx,
                      [&](int64_t link, const int (&source)[L]) {
                        decltype(s.terms.template load<V>(0, 0, 0, 0)) loaded[L][K];
                        T sums[L][Terms::kSums] = {};
#pragma unroll
                        for (int l = 0; l < L; ++l)
#pragma unroll
                          for (int k = 0; k < K; ++k) {
                            loaded[l][k] = {};
                            if (source[l] >= 0 && k < count)
                              loaded[l][k] = s.terms.template load<V>(
                                  link + l * lane.slots, first + k, source[l], lane.column);
                          }
#pragma unroll
                        for (int l = 0; l < L; ++l)
#pragma unroll
                          for (int k = 0; k < K; ++k)
                            if (k < count) s.terms.add(loaded[l][k], own[k], sums[l]);
                        s.write(lane, link, source, overwrite, sums);
                      });
  });
}

template <int V>
constexpr int kThreadsOfTiles = kThreads * (V == 8 ? 2 : 3);

// The same for all panels, in turn. A block has some rows of a part, and so the same links in all
// panels.
template <typename A, int V>
__global__ void __launch_bounds__(kThreadsOfTiles<V>, 1)
    sum_links_by_tiles(const LinkSums<A> s, bool overwrite) {
  using T = Computed<A>;
  constexpr int L = 4;
  const Lane lane(s.lanes, V);
  const int cuts = s.tiles.tiling.cuts;
  for (int at = blockIdx.x; at < s.tiles.tiling.parts * cuts; at += gridDim.x)
    for (int64_t panel = 0; panel < s.panels.count; ++panel) {
      if (!s.panels.runs(panel)) continue;
      Dots<A> near = s.terms;
      near.x = s.tiles.template copy<V>(s.terms.x, panel, at / cuts, s.w.cols);
      const bool first = overwrite && panel == 0;
      s.tiles.each_row(s.w, at / cuts, at % cuts, [&](int64_t row, const Links& links) {
        if (links.first == links.last) return;
        const Vec<T, V> own = load<V>(near.own(panel, row) + lane.column);
        for_each_batch<L>(links, lane.slot, lane.slots, s.w.idx,
                          [&](int64_t link, const int (&source)[L]) {
                            Vec<A, V> loaded[L];
                            T sums[L][1] = {};
#pragma unroll
                            for (int l = 0; l < L; ++l) {
                              loaded[l] = {};
                              if (source[l] >= 0)
                                loaded[l] = near.template load<V>(0, panel, source[l], lane.column);
                            }
#pragma unroll
                            for (int l = 0; l < L; ++l) near.add(loaded[l], own, sums[l]);
                            s.write(lane, link, source, first, sums);
                          });
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
  with_vector<A>(shape, [&](auto vector) {
    if constexpr (std::is_same_v<Terms, Dots<A>>)
      if (s.tiles.exist()) {
        const auto kernel = sum_links_by_tiles<A, vector>;
        const auto config = on_all(kernel, kThreadsOfTiles<vector>, s.tiles.bytes(), stream);
        return check(cudaLaunchKernelEx(&config, kernel, s, !accumulate));
      }
    bool overwrite = !accumulate;
    const int64_t together = std::clamp<int64_t>(fitting, 1, kPanelsTogether<vector, Terms>);
    for (int64_t first = 0, last; first < s.panels.count; first = std::max(last, first + 1)) {
      for (last = first; last < s.panels.count && last < first + together && runs(last);) ++last;
      if (last == first) continue;
      launch(sum_links<A, vector, Terms>, (s.w.rows + s.pieces.places) * s.lanes.group, stream, s,
             first, static_cast<int>(last - first), overwrite);
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
LinkSums<A, Terms> link_sums_on(const Csr& w, const Shape& shape, const Terms& terms,
                                const Panelled& panels, Computed<A>* sums, const Stream& stream) {
  const int vector = shape.width == 1 ? 1 : kVector<A>;
  const int64_t row = shape.width * static_cast<int64_t>(sizeof(A));
  LinkSums<A, Terms> s = {w,    {}, Lanes::of(w.nnz(), w.rows, shape.width, vector), terms, panels,
                          sums, {}};
  if constexpr (std::is_same_v<Terms, Dots<A>>)
    s.tiles = tiles_of<A>(w, shape, panels.count, row, true, stream);
  if (s.tiles.exist())
    s.lanes = s.tiles.lanes;
  else
    s.pieces = pieces_of(w);
  return s;
}

// The same for panels that are kept as the sums are.
template <typename T, class Terms>
LinkSums<T, Terms> link_sums_of(const Csr& w, const Shape& shape, const Terms& terms,
                                int64_t panels, T* sums, const Stream& stream) {
  return link_sums_on<T>(w, shape, terms, Panelled{panels}, sums, stream);
}

// G[i, j] = sum_k A_k[i] . X_k[j] over panels k.
template <typename A>
LinkSums<A> link_sums_of(const Csr& w, const Shape& shape, const Panels<A>& a, const Panels<A>& x,
                         const Panelled& panels, Computed<A>* gradient, const Stream& stream) {
  return link_sums_on<A>(w, shape, Dots<A>{a, x}, panels, gradient, stream);
}

}  // namespace
}  // namespace sparse_engine::cuda
