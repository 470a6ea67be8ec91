// The links of a matrix, shared out among threads.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

struct Rows {
  int64_t first;
  int64_t last;
};

// Rows of `w` for member `rank` of `size`: contiguous, whole multiples of `grain` rows except at
// the end, with nearly equal shares of links; a row itself counts as so many links.
Rows rows_of(const Csr& w, int rank, int size, int64_t grain, int64_t links_per_row = 4);

// The same for units of `gates` rows each: row g * units + u belongs to unit u, which counts as so
// many links. `w` may be some rows of a matrix, whose links do not begin at 0.
Rows units_of(const Csr& w, int gates, int rank, int size, int64_t grain, int64_t links_per_unit);

}  // namespace sparse_engine
