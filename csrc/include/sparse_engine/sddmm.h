// Sampled dense-dense product: G[i, j] = sum_n A[i, n] B[j, n], at the links of a pattern only.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

// Activations are kept as A: as T, or as BFloat16 where T is float.
template <typename T, typename A = T>
struct Sddmm {
  Csr w;                         // [rows x cols]
  Dense<const A> a;              // [rows x columns]
  Dense<const A> b;              // [cols x columns]
  int64_t columns;               // >= 0; the inner length of every dot product
  T* gradient;                   // [nnz], in the order of w.idx; must not overlap an input
  bool accumulate;               // add to `gradient` instead of overwriting it
  int threads;                   // at most this many; the result has the same bits for any number
  bool* out_of_range = nullptr;  // set where an entry of w.idx is; the result is incomplete then
};

template <class Isa, typename T, typename A>
void sddmm(const Sddmm<T, A>& args);

}  // namespace sparse_engine
