// Sums over the links of each row of W, for each column of a panel. The unit of work is an item: a
// row, or a piece of a long one, and a panel. A group of lanes has an item: lanes beside each other
// have the columns of the panel, a vector of V each, and the rest of the group the links, several
// at once. So a panel of 32 columns of floats is read four links at a time by a warp, and one
// column 32 links at a time.
//
// What is added up is a class of
//   kSums: how many sums a row has, per column;
//   kInFlight: links whose numbers a lane loads before it adds any of them up;
//   of<V>(row, panel, column): for V columns from `column` on, an object with
//     load(link, source): what a link's terms need; if that is zeros, the terms are zeros;
//     add(loaded, sums): adds its terms;
//   kOfLinks: whether links have sums of their own, too, over the columns. The object then has
//     add_to_links(lanes, lane, link, source, loaded), called for each batch of links, and the
//     panels of a row follow each other on the same lanes.
#pragma once

#include "products/pieces.cuh"
#include "runtime/panel.cuh"

namespace sparse_engine::cuda {
namespace {

// How the lanes of a warp are shared out; both are powers of two.
struct Lanes {
  int group;   // lanes for one item, at most a warp
  int across;  // of these, lanes for the columns of a panel

  // For the links of so many items. Short items get few lanes, so that their links keep all of them
  // busy.
  static Lanes of(int64_t links, int64_t items, int width, int vector) {
    constexpr int kLinksPerLane = 4;
    const int across = width / vector;
    int group = kWarp;
    while (group > across && group / across * kLinksPerLane * items > links) group /= 2;
    return {group, across};
  }
};

// This thread's part of its group's work.
struct Lane {
  int slot, slots;  // of the links: every slots-th from the slot-th on
  int column;       // the first of V

  __device__ Lane(const Lanes& lanes, int vector) {
    const int lane = static_cast<int>(threadIdx.x) % lanes.group;
    slot = lane / lanes.across;
    slots = lanes.group / lanes.across;
    column = lane % lanes.across * vector;
  }
  __device__ bool writes() const { return slot == 0; }
};

// body(item) for the items from `first` on below `last` that belong to one of so many warps; the
// lanes of a warp stay together, with item = -1 for those that have none.
template <typename I, class Body>
__device__ void for_each_item(const Lanes& lanes, I warp, I warps, I first, I last,
                              const Body& body) {
  const int per_warp = kWarp / lanes.group;
  const int own = static_cast<int>(threadIdx.x) % kWarp / lanes.group;
  for (I at = first + warp * per_warp; at < last; at += warps * per_warp)
    body(at + own < last ? at + own : -1);
}

// The same for all items below `items`, and the warps of the grid.
template <class Body>
__device__ void for_each_item(const Lanes& lanes, int64_t items, const Body& body) {
  for_each_item<int64_t>(lanes, thread_in_grid() / kWarp, threads_of_grid() / kWarp, 0, items,
                         body);
}

// The sum over the slots of a group, the same for all of its lanes. All lanes of the warp call it.
template <int V, typename T>
__device__ void sum_over_slots(const Lanes& lanes, Vec<T, V>& sum) {
  for (int distance = lanes.group / 2; distance >= lanes.across; distance /= 2)
#pragma unroll
    for (int v = 0; v < V; ++v) sum.at[v] += __shfl_xor_sync(~0u, sum.at[v], distance);
}

// body(link, source) for batches of K of those links that belong to one of `slots` lanes, from
// `slot` on: `link` is the first of a batch, the others follow at a distance of `slots`. Where none
// are left a source is -1, so that all K loads of a batch are under way, some of them masked,
// before what the first has loaded is used.
template <int K, class Body>
__device__ void for_each_batch(const Links& links, int slot, int slots, const int32_t* idx,
                               const Body& body) {
  const int count = static_cast<int>(links.last - links.first);
  idx += links.first;
#pragma unroll 1
  for (int p = slot; p < count; p += K * slots) {
    int source[K];
#pragma unroll
    for (int k = 0; k < K; ++k) source[k] = p + k * slots < count ? idx[p + k * slots] : -1;
    body(links.first + p, source);
  }
}

// The sums over some links, the same for all lanes of a group. All lanes of the warp call it.
template <int V, typename T, class Terms>
__device__ void sum_over_links(const Lanes& lanes, const Lane& lane, const int32_t* idx,
                               const Terms& terms, const Links& links, int64_t row, int64_t panel,
                               Vec<T, V> (&sums)[Terms::kSums]) {
  constexpr int K = Terms::kInFlight;
  const auto of = terms.template of<V>(row, panel, lane.column);
  for_each_batch<K>(links, lane.slot, lane.slots, idx, [&](int64_t link, const int (&source)[K]) {
    decltype(of.load(0, 0)) loaded[K];
#pragma unroll
    for (int k = 0; k < K; ++k) {
      loaded[k] = {};
      if (source[k] >= 0) loaded[k] = of.load(link + k * lane.slots, source[k]);
    }
#pragma unroll
    for (int k = 0; k < K; ++k) of.add(loaded[k], sums);
    if constexpr (Terms::kOfLinks) of.add_to_links(lanes, lane, link, source, loaded);
  });
#pragma unroll
  for (int i = 0; i < Terms::kSums; ++i) sum_over_slots<V>(lanes, sums[i]);
}

// The first so many panels of a product, and for how many of them there is something to add up: the
// sums of the others are zero.
struct Extent {
  int panels, filled;
};

template <typename T>
struct RowSums {
  Csr w;  // rows = R * units; rows r, r + units, .. belong to unit r
  Pieces pieces;
  Lanes lanes;
  T* partial;  // [panels, places, kSums, width], sums of pieces
  int64_t units, panels;
  int width;
  // Where X fits the second-level cache, the panels of a unit follow each other, so that its links
  // are read once for all of them. Otherwise panel after panel.
  bool unit_by_unit;

  __device__ bool has_second_phase() const { return pieces.count() > 0; }
  // Those that may be needed.
  int64_t phases() const { return pieces.places > 0 ? 2 : 1; }

  template <int K>
  __device__ T* partial_of(int64_t panel, int64_t piece, int i, const Lane& lane) const {
    return partial + ((panel * pieces.places + piece) * K + i) * width + lane.column;
  }

  // Adds the sums of the pieces of a long row, from its first piece on.
  template <int V, int K>
  __device__ void add_pieces(int64_t row, int64_t first, int64_t panel, const Lane& lane,
                             Vec<T, V> (&sums)[K]) const {
    const int64_t links = w.ptr[row + 1] - w.ptr[row];
    for (int64_t p = first; (p - first) * pieces.most < links; ++p)
#pragma unroll
      for (int i = 0; i < K; ++i) {
        const Vec<T, V> piece = load<V>(partial_of<K>(panel, p, i, lane));
#pragma unroll
        for (int v = 0; v < V; ++v) sums[i].at[v] += piece.at[v];
      }
  }

  template <int R>
  __device__ bool has_long_row(int64_t unit) const {
    for (int r = 0; r < R; ++r)
      if (pieces.is_long(w, r * units + unit)) return true;
    return false;
  }

  // finish(unit, panel, column, sums) where all R * kSums sums of a unit are there; writes the sums
  // of pieces.
  template <int V, int R, class Terms, class Finish>
  __device__ void units_and_pieces(const Terms& terms, const Extent& extent,
                                   const Finish& finish) const {
    constexpr int K = Terms::kSums;
    const Lane lane(lanes, V);
    const int64_t per_panel = units + pieces.count();
    const auto visit = [&](int64_t panel, int64_t at, bool exists) {
      const bool has_terms = panel < extent.filled;
      const bool whole = exists && at < units && !has_long_row<R>(at);
      const bool is_piece = exists && has_terms && at >= units;
      Vec<T, V> sums[R * K];
#pragma unroll
      for (int r = 0; r < R; ++r) {
        Links links = {0, 0};
        int64_t row = 0;
        if (whole && has_terms) links = pieces.of_row(w, row = r * units + at);
        if (is_piece && r == 0)
          links = pieces.of_piece(w, at - units), row = pieces.row(at - units);
        Vec<T, V> of_row[K] = {};
        sum_over_links<V>(lanes, lane, w.idx, terms, links, row, panel, of_row);
#pragma unroll
        for (int i = 0; i < K; ++i) sums[r * K + i] = of_row[i];
      }
      if (!lane.writes()) return;
      if (whole) finish(at, panel, lane.column, sums);
      if (is_piece)
#pragma unroll
        for (int i = 0; i < K; ++i) store<V>(partial_of<K>(panel, at - units, i, lane), sums[i]);
    };
    if constexpr (Terms::kOfLinks)
      for_each_item(lanes, per_panel, [&](int64_t item) {
        for (int panel = 0; panel < extent.panels; ++panel)
          visit(panel, item < 0 ? 0 : item, item >= 0);
      });
    else
      for_each_item(lanes, extent.panels * per_panel, [&](int64_t item) {
        const int64_t own = item < 0 ? 0 : item;
        const int64_t panel = unit_by_unit ? own % extent.panels : own / per_panel;
        visit(panel, unit_by_unit ? own / extent.panels : own % per_panel, item >= 0);
      });
  }

  // The same for the units that have a long row, after a barrier.
  template <int V, int R, class Terms, class Finish>
  __device__ void long_units(const Terms& terms, const Extent& extent, const Finish& finish) const {
    constexpr int K = Terms::kSums;
    const Lane lane(lanes, V);
    const int64_t count = pieces.count();
    for_each_item(lanes, extent.panels * count, [&](int64_t item) {
      const int64_t panel = item < 0 ? 0 : item / count, piece = item < 0 ? 0 : item % count;
      const int64_t row = pieces.row(piece), unit = row % units;
      // The first piece of the first long row of a unit stands for the unit.
      bool stands = item >= 0 && pieces.begins(w, piece);
      for (int64_t other = unit; stands && other < row; other += units)
        stands = !pieces.is_long(w, other);
      Vec<T, V> sums[R * K];
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const int64_t own = r * units + unit;
        const bool adds = stands && panel < extent.filled;
        Vec<T, V> of_row[K] = {};
        const Links links = adds ? pieces.of_row(w, own) : Links{0, 0};
        sum_over_links<V>(lanes, lane, w.idx, terms, links, own, panel, of_row);
        if (adds && pieces.is_long(w, own))
          add_pieces<V>(own, R == 1 ? piece : pieces.first_of(own), panel, lane, of_row);
#pragma unroll
        for (int i = 0; i < K; ++i) sums[r * K + i] = of_row[i];
      }
      if (stands && lane.writes()) finish(unit, panel, lane.column, sums);
    });
  }

  // All sums, in two phases, the second of which is often not needed.
  template <int V, int R, class Terms, class Finish>
  __device__ void phase(int64_t phase, const Terms& terms, const Extent& extent,
                        const Finish& finish) const {
    if (phase == 0)
      units_and_pieces<V, R>(terms, extent, finish);
    else
      long_units<V, R>(terms, extent, finish);
  }

  // The same for all panels. Without terms, all sums are zero.
  template <int V, int R, class Terms, class Finish>
  __device__ void phase(int64_t phase, const Terms& terms, bool has_terms,
                        const Finish& finish) const {
    this->phase<V, R>(phase, terms, extent(has_terms), finish);
  }

  __device__ Extent extent(bool has_terms) const {
    const int all = static_cast<int>(panels);
    return {all, has_terms ? all : 0};
  }
};

// For `sums` sums per row, over panels that are kept as A.
template <typename T, typename A = T>
RowSums<T> row_sums_of(const Csr& w, const Pieces& pieces, int sums, int64_t units,
                       const Shape& shape, const Stream& stream) {
  const int vector = shape.width == 1 ? 1 : kVector<A>;
  return {w,
          pieces,
          Lanes::of(w.nnz(), w.rows, shape.width, vector),
          take<T>(stream, shape.padded() * pieces.places * sums),
          units,
          shape.panels,
          shape.width,
          w.cols * shape.padded() * static_cast<int64_t>(sizeof(A)) <=
              attribute(cudaDevAttrL2CacheSize) / 2};
}

// In pieces where rows are long.
template <typename T>
RowSums<T> row_sums_of(const Csr& w, int sums, int64_t units, const Shape& shape,
                       const Stream& stream) {
  return row_sums_of<T>(w, pieces_of(w), sums, units, shape, stream);
}

}  // namespace
}  // namespace sparse_engine::cuda
