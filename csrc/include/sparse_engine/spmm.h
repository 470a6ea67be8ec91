// Sparse times dense: Y = W X + b.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

// Activations are kept as A: as T, or as BFloat16 where T is float.
template <typename T, typename A = T>
struct Spmm {
  Csr w;            // [rows x cols]
  const T* values;  // [nnz], in the order of w.idx, or of `permutation` where that is given
  const int32_t* permutation;  // [nnz] or null: link p of w has the value values[permutation[p]]
  const T* bias;               // [rows] or null
  Dense<const A> x;            // [cols x columns]
  Dense<A> y;                  // [rows x columns], written completely; must not overlap any input
  int64_t columns;             // >= 0
  int threads;                 // at most this many; the result has the same bits for any number
  // Set where an entry of w.idx or of `permutation` is out of range; y is incomplete then. Entries
  // are looked at shortly before they are used, which takes less than a look at all of them first.
  bool* out_of_range = nullptr;
};

// Computes Y = W X + b. With W^T's pattern and its permutation this is the transposed product.
template <class Isa, typename T, typename A>
void spmm(const Spmm<T, A>& args);

}  // namespace sparse_engine
