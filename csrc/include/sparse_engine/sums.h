// Sums over the columns of a dense matrix.
#pragma once

#include "sparse_engine/bfloat16.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine {

template <typename T, typename A = T>
struct ColumnSums {
  Dense<const A> x;  // [features x columns]
  int64_t features;
  int64_t columns;
  T* sums;      // [features], written completely; must not overlap x
  int threads;  // at most this many; the result has the same bits for any number
};

// sums[f] = sum_n x[f, n], in an order that follows from the shape and the memory order of x.
template <typename T, typename A>
void column_sums(const ColumnSums<T, A>& args);

}  // namespace sparse_engine
