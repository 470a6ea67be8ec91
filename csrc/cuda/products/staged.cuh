// Sums over links with X in shared memory. Behind a barrier, a row's sums over its parts are added,
// in order.
#pragma once

#include "products/row_sums.cuh"
#include "products/tiles.cuh"

namespace sparse_engine::cuda {
namespace {

template <typename A>
struct Staged {
  using T = Computed<A>;

  Tiles<A> tiles;
  T* partial;  // [panels, parts, rows, width]

  __device__ T& partial_of(const Csr& w, int64_t part, int64_t row, Column n) const {
    return partial[((n.panel * tiles.tiling.parts + part) * w.rows + row) * tiles.width + n.at];
  }

  // The sums over the links in each part of each row, for the first `panels` panels. `terms` look
  // at an X, terms.x. The panels of a part follow each other, as they look at the same links.
  template <int V, class Terms>
  __device__ void sum_parts(const Terms& terms, const Csr& w, int panels) const {
    const Lane lane(tiles.lanes, V);
    const Exchange<V> exchange(tiles.lanes.group / 2, tiles.lanes.across);
    const int cuts = tiles.tiling.cuts;
    for (int at = blockIdx.x; at < tiles.tiling.parts * panels * cuts; at += gridDim.x) {
      const int part = at / cuts / panels, panel = at / cuts % panels;
      Terms near = terms;
      near.x = tiles.template copy<V>(terms.x, panel, part, w.cols);
      const auto of = near.template of<V>(0, panel, lane.column);
      tiles.each_row(w, part, at % cuts, [&](int64_t row, const Links& links) {
        T sums[1][V] = {};
        add_links<V>(of, lane, w.idx, links, std::integral_constant<int, Terms::kInFlight>(), sums);
        exchange.add(sums[0]);
        if (row >= 0)
          RowSums<T>::template each_column<V>(
              lane, exchange, panel, sums,
              [&](Column n, T(&sum)[1]) { partial_of(w, part, row, n) = sum[0]; });
      });
    }
  }

  // finish(unit, n, sums) with the R sums of every unit, after a barrier. A lane has a column.
  template <int R, class Finish>
  __device__ void add_parts(const Csr& w, const Extent& extent, const Finish& finish) const {
    const int64_t units = w.rows / R;
    for_each_item({tiles.width, tiles.width}, extent.panels * units, [&](int64_t item) {
      if (item < 0) return;
      const int panel = extent.panels == 1 ? 0 : static_cast<int>(item / units);
      const int64_t unit = item - panel * units;
      const Column n{panel, static_cast<int>(threadIdx.x) & (tiles.width - 1)};
      T sums[R] = {};
#pragma unroll(R == 1 ? 4 : 1)
      for (int64_t part = 0; part < (panel < extent.filled ? tiles.tiling.parts : 0); ++part)
#pragma unroll
        for (int r = 0; r < R; ++r) sums[r] += partial_of(w, part, r * units + unit, n);
      finish(unit, n, sums);
    });
  }
};

template <typename A>
Staged<A> staged_of(const Csr& w, const Shape& shape, const Stream& stream) {
  using T = Computed<A>;
  // Sums are written and read.
  const int64_t of_row = 2 * Traffic::sectors(shape.width * static_cast<int64_t>(sizeof(T)));
  const Tiles<A> tiles = tiles_of<A>(w, shape, shape.panels, of_row, false, stream);
  if (!tiles.exist()) return {};
  return {tiles, take<T>(stream, shape.padded() * w.rows * tiles.tiling.parts)};
}

}  // namespace
}  // namespace sparse_engine::cuda
