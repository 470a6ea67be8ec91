// How rows with many links are cut into pieces, which the warps of a GPU have as their share. It
// depends on the pattern alone: sparse_engine/ops/pattern.py makes it together with the transpose.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sparse_engine {

// The links of a piece, at most. The share of one of 8192 warps, the most that a large GPU runs at
// once, is never cut. It does not depend on the device, so that sums have the same bits on all.
inline int64_t most_links_of_piece(int64_t nnz) { return std::max<int64_t>(256, nnz / 8192); }

// Room for pieces: a row of more than `most` links has fewer than 2 * links / most of them.
inline int64_t places_of_pieces(int64_t nnz) { return 2 * (nnz / most_links_of_piece(nnz)); }

// Numbers in the plan of one matrix: how many pieces there are, the row of each, and the first link
// of each, both increasing, with places_of_pieces(nnz) places.
inline int64_t size_of_plan(int64_t nnz) { return 1 + 2 * places_of_pieces(nnz); }

}  // namespace sparse_engine
