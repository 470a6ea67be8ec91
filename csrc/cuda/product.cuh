// Rows of W times panels of X, which is kept as A. The unit of work is an item: a row, or a piece
// of a long one, and a panel. A group of lanes has an item: lanes beside each other have the
// columns of the panel, a vector of V each, and the rest of the group the links, several at once.
// So a panel of 32 columns of floats is read four links at a time by a warp, and one column 32
// links at a time.
#pragma once

#include "panel.cuh"
#include "pieces.cuh"

namespace sparse_engine::cuda {
namespace {

// How the lanes of a warp are shared out; both are powers of two.
struct Lanes {
  int group;   // lanes for one item, at most a warp
  int across;  // of these, lanes for the columns of a panel

  // Short rows get few lanes, so that their links keep all of them busy.
  static Lanes of(const Csr& w, int width, int vector) {
    constexpr int kLinksPerLane = 4;
    const int across = width / vector;
    int group = kWarp;
    while (group > across && group / across * kLinksPerLane * w.rows > w.nnz()) group /= 2;
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

// body(item) for every item below `items`; the lanes of a warp stay together, with item = -1 for
// those that have none.
template <class Body>
__device__ void for_each_item(const Lanes& lanes, int64_t items, const Body& body) {
  const int per_warp = kWarp / lanes.group;
  const int own = static_cast<int>(threadIdx.x) % kWarp / lanes.group;
  const int64_t warps = threads_of_grid() / kWarp;
  for (int64_t first = thread_in_grid() / kWarp * per_warp; first < items;
       first += warps * per_warp)
    body(first + own < items ? first + own : -1);
}

// The sum over the slots of a group, the same for all of its lanes. All lanes of the warp call it.
template <int V, typename T>
__device__ void sum_over_slots(const Lanes& lanes, Vec<T, V>& sum) {
  for (int distance = lanes.group / 2; distance >= lanes.across; distance /= 2)
#pragma unroll
    for (int v = 0; v < V; ++v) sum.at[v] += __shfl_xor_sync(~0u, sum.at[v], distance);
}

// The first so many panels of a product, and for how many of them X is there: the sums of the
// others are zero.
struct Extent {
  int panels, filled;
};

template <typename A>
struct Product {
  using T = Computed<A>;

  Csr w;            // rows = R * units; rows r, r + units, .. belong to unit r
  const T* values;  // [nnz]
  Pieces pieces;
  Lanes lanes;
  T* partial;  // [panels, slots, width], sums of pieces
  int64_t units, panels;
  int width;

  __device__ bool has_long_rows() const { return *pieces.any_long != 0; }
  int64_t threads() const { return panels * (units + pieces.slots) * lanes.group; }

  template <int V>
  __device__ void add(const Links& links, const A* x, const Lane& lane, int64_t row_stride,
                      Vec<T, V>& sum) const {
#pragma unroll 4
    for (int64_t p = links.first + lane.slot; p < links.last; p += lane.slots) {
      const Vec<T, V> row = load<V>(x + w.idx[p] * row_stride);
      const T value = values[p];
#pragma unroll
      for (int v = 0; v < V; ++v) sum.at[v] += value * row.at[v];
    }
  }

  template <int V>
  __device__ T* partial_of(int64_t panel, int64_t slot, const Lane& lane) const {
    return partial + (panel * pieces.slots + slot) * width + lane.column;
  }

  // The sum over some links, the same for all lanes of a group. All lanes of the warp call it.
  template <int V>
  __device__ Vec<T, V> sum_of(const Links& links, const Panels<A>& x, int64_t panel,
                              const Lane& lane) const {
    Vec<T, V> sum = {};
    add<V>(links, x.row(panel, 0) + lane.column, lane, x.row_stride, sum);
    sum_over_slots<V>(lanes, sum);
    return sum;
  }

  // Adds the sums of the pieces of a long row.
  template <int V>
  __device__ void add_pieces(int64_t row, int64_t panel, const Lane& lane, Vec<T, V>& sum) const {
    const Links slots = pieces.slots_of(w, row);
    for (int64_t s = slots.first; s < slots.last; ++s) {
      const Vec<T, V> piece = load<V>(partial_of<V>(panel, s, lane));
#pragma unroll
      for (int v = 0; v < V; ++v) sum.at[v] += piece.at[v];
    }
  }

  template <int R>
  __device__ bool has_long_row(int64_t unit) const {
    for (int r = 0; r < R; ++r)
      if (pieces.is_long(w, r * units + unit)) return true;
    return false;
  }

  // finish(unit, panel, column, sums) where the R sums of a unit are there; writes the sums of
  // pieces.
  template <int V, int R, class Finish>
  __device__ void units_and_pieces(const Panels<A>& x, const Extent& extent,
                                   const Finish& finish) const {
    const Lane lane(lanes, V);
    const int64_t per_panel = units + pieces.slots;
    for_each_item(lanes, extent.panels * per_panel, [&](int64_t item) {
      const int64_t panel = item < 0 ? 0 : item / per_panel, at = item - panel * per_panel;
      const bool has_x = panel < extent.filled;
      const bool whole = item >= 0 && at < units && !has_long_row<R>(at);
      const bool is_piece = has_x && at >= units;
      Vec<T, V> sums[R];
#pragma unroll
      for (int r = 0; r < R; ++r) {
        Links links = {0, 0};
        if (whole && has_x) links = pieces.of_row(w, r * units + at);
        if (is_piece && r == 0) links = pieces.of_slot(w, at - units);
        sums[r] = sum_of<V>(links, x, panel, lane);
      }
      if (!lane.writes()) return;
      if (whole) finish(at, panel, lane.column, sums);
      if (is_piece) store<V>(partial_of<V>(panel, at - units, lane), sums[0]);
    });
  }

  // The same for the units that have a long row, after a barrier.
  template <int V, int R, class Finish>
  __device__ void long_units(const Panels<A>& x, const Extent& extent, const Finish& finish) const {
    const Lane lane(lanes, V);
    for_each_item(lanes, extent.panels * pieces.slots, [&](int64_t item) {
      const int64_t panel = item < 0 ? 0 : item / pieces.slots, slot = item - panel * pieces.slots;
      const int64_t row = item < 0 ? -1 : pieces.slot_row[slot], unit = row < 0 ? 0 : row % units;
      // The first slot of the first long row of a unit stands for the unit.
      bool stands = row >= 0 && slot == pieces.first_slot(w, row);
      for (int64_t other = unit; stands && other < row; other += units)
        stands = !pieces.is_long(w, other);
      Vec<T, V> sums[R];
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const int64_t own = r * units + unit;
        const bool adds = stands && panel < extent.filled;
        sums[r] = sum_of<V>(adds ? pieces.of_row(w, own) : Links{0, 0}, x, panel, lane);
        if (adds && pieces.is_long(w, own)) add_pieces<V>(own, panel, lane, sums[r]);
      }
      if (stands && lane.writes()) finish(unit, panel, lane.column, sums);
    });
  }

  // The product in two phases, the second of which is often not needed.
  template <int V, int R, class Finish>
  __device__ void phase(int64_t phase, const Panels<A>& x, const Extent& extent,
                        const Finish& finish) const {
    if (phase == 0)
      units_and_pieces<V, R>(x, extent, finish);
    else
      long_units<V, R>(x, extent, finish);
  }

  // The same for all panels. Without x, all sums are zero.
  template <int V, int R, class Finish>
  __device__ void phase(int64_t phase, const Panels<A>& x, bool has_x, const Finish& finish) const {
    const int all = static_cast<int>(panels);
    this->phase<V, R>(phase, x, Extent{all, has_x ? all : 0}, finish);
  }
};

template <typename A, typename T>
Product<A> product_on(const Csr& w, const T* values, int64_t units, const Shape& shape,
                      const Stream& stream) {
  const Pieces pieces = pieces_of(w, stream);
  const int vector = shape.width == 1 ? 1 : kVector<A>;
  return {w,
          values,
          pieces,
          Lanes::of(w, shape.width, vector),
          take<T>(stream, shape.padded() * pieces.slots),
          units,
          shape.panels,
          shape.width};
}

// The same for an X that is kept as the values are.
template <typename T>
Product<T> product_of(const Csr& w, const T* values, int64_t units, const Shape& shape,
                      const Stream& stream) {
  return product_on<T>(w, values, units, shape, stream);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    gather(const T* values, const int32_t* permutation, int64_t n, T* out) {
  for (int64_t p = thread_in_grid(); p < n; p += threads_of_grid()) out[p] = values[permutation[p]];
}

// values[permutation[.]], or the values themselves where there is no permutation.
template <typename T>
const T* in_order(const T* values, const int32_t* permutation, int64_t n, const Stream& stream) {
  if (permutation == nullptr) return values;
  T* out = take<T>(stream, n);
  launch(gather<T>, n, stream, values, permutation, n, out);
  return out;
}

}  // namespace
}  // namespace sparse_engine::cuda
