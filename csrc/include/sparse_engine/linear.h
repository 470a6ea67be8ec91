// The backward pass through a linear layer Y = W X: the gradients of X and of W's links in one
// visit.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

// Activations are kept as A: as T, or as BFloat16 where T is float.
template <typename T, typename A = T>
struct LinearBackward {
  Csr wt;                      // [inputs x outputs], the transpose of W
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of W
  const T* values;             // [nnz], in the order of W
  Dense<const A> x;            // [inputs x columns]
  Dense<const A> dy;           // [outputs x columns]
  Dense<A> dx;                 // [inputs x columns], written completely; must not overlap any input
  T* dvalues;       // [nnz], in the order of W, written completely; must not overlap any input
  int64_t columns;  // >= 0
  int threads;      // at most this many; the results have the same bits for any number
  // Set where an entry of wt.idx or of `permutation` is; the results are incomplete then.
  bool* out_of_range = nullptr;
};

// Computes dX = W^T dY, with the same bits as spmm(), and dvalues = (dY X^T) at the links.
template <class Isa, typename T, typename A>
void linear_backward(const LinearBackward<T, A>& args);

}  // namespace sparse_engine
