// What the host decides without looking at a device, for the tests of that.
#include "products/tiles.cuh"

using sparse_engine::cuda::Tiling;
using sparse_engine::cuda::Traffic;

// How a product is tiled, or with `in_turn` the gradient of its links: the columns of each part, or
// 0 where nothing is staged, the parts and the cuts; and how many of 1000 parts of the busiest
// block's work an average block has.
extern "C" __attribute__((visibility("default"))) void tiling_of(
    int64_t rows, int64_t cols, int64_t links, int64_t panels, int64_t bytes, int64_t in_turn,
    int64_t processors, int64_t shared_memory, int64_t* found) {
  const int64_t of_row = in_turn ? bytes : 2 * Traffic::sectors(bytes);
  const Traffic traffic{rows,   cols,         links,      panels,       bytes,
                        of_row, in_turn != 0, processors, shared_memory};
  const Tiling tiling = sparse_engine::cuda::tiling_for(traffic);
  found[0] = tiling.columns, found[1] = tiling.parts, found[2] = tiling.cuts;
  const double all = static_cast<double>(processors) * traffic.tiles_of_block(tiling);
  const int64_t tiles = tiling.parts * tiling.cuts * panels;
  found[3] = all > 0 ? static_cast<int64_t>(1000 * static_cast<double>(tiles) / all) : 0;
}
