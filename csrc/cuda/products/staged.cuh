// Sums over links with X in shared memory. Behind a barrier, a row's sums over its parts are added,
// in order.
#pragma once

#include "products/tiles.cuh"

namespace sparse_engine::cuda {
namespace {

template <typename A>
struct Staged {
  using T = Computed<A>;

  Tiles<A> tiles;
  T* partial;  // [panels, parts, rows, width]

  __device__ T* partial_of(const Csr& w, int64_t panel, int64_t part, int64_t row,
                           const Lane& lane) const {
    return partial + ((panel * tiles.tiling.parts + part) * w.rows + row) * tiles.width +
           lane.column;
  }

  // The sums over the links in each part of each row, for the first `panels` panels. `terms` look
  // at an X, terms.x. The panels of a part follow each other, as they look at the same links; for
  // terms of links, in the same block.
  template <int V, class Terms>
  __device__ void sum_parts(const Terms& terms, const Csr& w, int panels) const {
    const Lane lane(tiles.lanes, V);
    const int cuts = tiles.tiling.cuts, turns = Terms::kOfLinks ? panels : 1;
    const auto visit = [&](int part, int panel, int cut) {
      Terms near = terms;
      near.x = tiles.template copy<V>(terms.x, panel, part, w.cols);
      T* const to = partial_of(w, panel, part, 0, lane);
      tiles.each_row(w, part, cut, [&](int64_t row, const Links& links) {
        Vec<T, V> sums[1] = {};
        sum_over_links<V>(tiles.lanes, lane, w.idx, near, links, row, panel, sums);
        if (row >= 0 && lane.writes()) store<V>(to + row * tiles.width, sums[0]);
      });
    };
    const int apart = turns == 0 ? 0 : panels / turns;  // panels that blocks share out
    for (int at = blockIdx.x; at < tiles.tiling.parts * apart * cuts; at += gridDim.x)
      for (int turn = 0; turn < turns; ++turn)
        visit(at / cuts / apart, Terms::kOfLinks ? turn : at / cuts % apart, at % cuts);
  }

  // finish(unit, panel, column, sums) with the R sums of every unit, after a barrier.
  template <int V, int R, class Finish>
  __device__ void add_parts(const Csr& w, const Extent& extent, const Finish& finish) const {
    const Lanes each = {tiles.lanes.across, tiles.lanes.across};
    const Lane lane(each, V);
    const int64_t units = w.rows / R;
    for_each_item(each, extent.panels * units, [&](int64_t item) {
      if (item < 0) return;
      const int64_t panel = item / units, unit = item - panel * units;
      Vec<T, V> sums[R] = {};
#pragma unroll(R == 1 ? 4 : 1)
      for (int64_t part = 0; part < (panel < extent.filled ? tiles.tiling.parts : 0); ++part)
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const Vec<T, V> more = load<V>(partial_of(w, panel, part, r * units + unit, lane));
#pragma unroll
          for (int v = 0; v < V; ++v) sums[r].at[v] += more.at[v];
        }
      finish(unit, panel, lane.column, sums);
    });
  }
};

template <typename A>
Staged<A> staged_of(const Csr& w, const Shape& shape, bool in_turn, const Stream& stream) {
  using T = Computed<A>;
  // Sums are written and read.
  const int64_t of_row = 2 * Traffic::sectors(shape.width * static_cast<int64_t>(sizeof(T)));
  const Tiles<A> tiles = tiles_of<A>(w, shape, shape.panels, of_row, in_turn, stream);
  if (!tiles.exist()) return {};
  return {tiles, take<T>(stream, shape.padded() * w.rows * tiles.tiling.parts)};
}

}  // namespace
}  // namespace sparse_engine::cuda
