// Large entries of a dense matrix where a sparse one has no link.
#pragma once

#include <vector>

#include "sparse_engine/matrix.h"

namespace sparse_engine {

// Rows [first, first + rows) of a dense matrix of the shape of w.
template <typename T>
struct Block {
  const T* entries;  // [rows, w.cols]
  int64_t first;
  int64_t rows;
};

// Entries in row-major order.
template <typename T>
struct Entries {
  std::vector<T> magnitudes;
  std::vector<int64_t> cells;  // row * cols + col
};

// The entries of the block with a magnitude greater than `above`, at cells that hold no link of w.
// One piece for each thread, in order. NaN is greater than every number.
template <typename T>
std::vector<Entries<T>> scan_absent(const Csr& w, const Block<T>& block, T above, int threads);

}  // namespace sparse_engine
