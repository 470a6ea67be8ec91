// How the links of a matrix are shared out. A row is summed at one place, unless it has more links
// than a fair share; then it is cut into pieces of that many links, whose sums are added, in order,
// when all are there.
//
// Pieces are numbered by slots. Long row r owns the slots from 2 * (ptr[r] / most) on: twice as
// many as it can need, so that no prefix sum over rows has to be computed, and the number of all
// slots is known without reading the pattern.
#pragma once

#include "runtime/launch.cuh"
#include "sparse_engine/matrix.h"

namespace sparse_engine::cuda {
namespace {

struct Links {
  int64_t first, last;
};

struct Pieces {
  int64_t most = INT64_MAX;           // links of a piece
  int64_t slots = 0;                  // 2 * (nnz / most)
  const int32_t* slot_row = nullptr;  // [slots], the long row that owns the slot, or -1
  const int32_t* any_long = nullptr;  // [1], where there are slots

  __device__ bool is_long(const Csr& w, int64_t row) const {
    return w.ptr[row + 1] - w.ptr[row] > most;
  }
  __device__ int64_t first_slot(const Csr& w, int64_t row) const { return 2 * (w.ptr[row] / most); }
  // Those of a row that is not long; none of a long one.
  __device__ Links of_row(const Csr& w, int64_t row) const {
    return {w.ptr[row], is_long(w, row) ? w.ptr[row] : w.ptr[row + 1]};
  }
  // Those of the piece in a slot; none where it holds none.
  __device__ Links of_slot(const Csr& w, int64_t slot) const {
    const int32_t row = slot_row[slot];
    if (row < 0) return {0, 0};
    const int64_t end = w.ptr[row + 1];
    const int64_t first = w.ptr[row] + (slot - first_slot(w, row)) * most;
    return {first < end ? first : end, first + most < end ? first + most : end};
  }
  // Slots that hold pieces of a long row.
  __device__ Links slots_of(const Csr& w, int64_t row) const {
    const int64_t first = first_slot(w, row), length = w.ptr[row + 1] - w.ptr[row];
    return {first, first + (length + most - 1) / most};
  }
};

// The share of one of so many warps, the most that a large GPU runs at once, is never cut. It does
// not depend on the device, so that sums have the same bits on all.
constexpr int64_t kWarps = 8192, kFewestLinks = 256;

__global__ void __launch_bounds__(kThreads)
    own_slots(const Csr w, const Pieces pieces, int32_t* slot_row, int32_t* any_long) {
  for (int64_t row = thread_in_grid(); row < w.rows; row += threads_of_grid()) {
    const bool is_long = pieces.is_long(w, row);
    if (is_long) *any_long = 1;
    for (int64_t s = pieces.first_slot(w, row); s < pieces.first_slot(w, row + 1); ++s)
      slot_row[s] = is_long ? static_cast<int32_t>(row) : -1;
  }
}

inline Pieces pieces_of(const Csr& w, const Stream& stream) {
  const int64_t most = std::max(kFewestLinks, w.nnz() / kWarps), slots = 2 * (w.nnz() / most);
  if (slots == 0) return {};
  int32_t* slot_row = take<int32_t>(stream, slots);
  int32_t* any_long = take<int32_t>(stream, 1);
  const Pieces pieces{most, slots, slot_row, any_long};
  fill_zeros(any_long, 1, stream);
  launch(own_slots, w.rows, stream, w, pieces, slot_row, any_long);
  return pieces;
}

}  // namespace
}  // namespace sparse_engine::cuda
