// Splitting the rows of a sparse matrix among threads by the work that they hold.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

struct Rows {
  int64_t first;
  int64_t last;
};

// Rows of `w` for member `rank` of `size`: contiguous, whole multiples of `grain` rows except at
// the end, with nearly equal shares of links (a row itself counts as a few links).
Rows rows_of(const Csr& w, int rank, int size, int64_t grain);

}  // namespace sparse_engine
