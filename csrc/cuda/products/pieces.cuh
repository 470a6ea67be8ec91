// How the links of a matrix are shared out. A row is summed at one place, unless it has more links
// than a fair share; then it is cut into pieces of that many links, whose sums are added, in order,
// when all are there. The plan of the matrix lists the pieces of all long rows.
#pragma once

#include "runtime/each.cuh"
#include "sparse_engine/matrix.h"
#include "sparse_engine/plan.h"

namespace sparse_engine::cuda {
namespace {

struct Links {
  int64_t first, last;
};

struct Pieces {
  int64_t most = INT64_MAX;  // links of a piece
  int64_t places = 0;        // room for pieces, which the host knows
  const int32_t* plan =
      nullptr;  // where there are places: how many pieces, their rows, and first links

  __device__ int64_t count() const { return places > 0 ? plan[0] : 0; }
  __device__ int64_t row(int64_t piece) const { return plan[1 + piece]; }
  __device__ int64_t first_link(int64_t piece) const { return plan[1 + places + piece]; }

  __device__ bool is_long(const Csr& w, int64_t row) const {
    return w.ptr[row + 1] - w.ptr[row] > most;
  }
  // Those of a row that is not long; none of a long one.
  __device__ Links of_row(const Csr& w, int64_t row) const {
    return {w.ptr[row], is_long(w, row) ? w.ptr[row] : w.ptr[row + 1]};
  }
  __device__ Links of_piece(const Csr& w, int64_t piece) const {
    const int64_t first = first_link(piece), end = w.ptr[row(piece) + 1];
    return {first, first + most < end ? first + most : end};
  }
  // Whether this is the first piece of its row.
  __device__ bool begins(const Csr& w, int64_t piece) const {
    return first_link(piece) == w.ptr[row(piece)];
  }
  // The first piece of a long row.
  __device__ int64_t first_of(int64_t row) const {
    return first_where(0, count(), [&](int64_t p) { return this->row(p) >= row; });
  }
};

inline Pieces pieces_of(const Csr& w) {
  return {most_links_of_piece(w.nnz()), places_of_pieces(w.nnz()), w.plan};
}

}  // namespace
}  // namespace sparse_engine::cuda
