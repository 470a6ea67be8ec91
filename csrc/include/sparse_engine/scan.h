// Large entries of a dense matrix where a sparse one has no link.
#pragma once

#include <functional>

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
  T* magnitudes;   // [found], written
  int64_t* cells;  // [found], written: row * cols + col
};

// Asked once, for so many entries, when their number is known.
template <typename T>
using Room = std::function<Entries<T>(int64_t found)>;

// The entries of the block with a magnitude greater than `above`, at cells that hold no link of w.
// NaN is greater than every number; `above` is none.
template <typename T>
void scan_absent(const Csr& w, const Block<T>& block, T above, const Room<T>& room, int threads);

}  // namespace sparse_engine
