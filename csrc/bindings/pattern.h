// A sparse pattern with its transposed view, as the operations receive it.
#pragma once

#include "check.h"

namespace sparse_engine::bindings {

struct Pattern {
  Csr w;                       // [out_features x in_features]
  Csr wt;                      // its transpose
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w

  Pattern(const Tensor& crow, const Tensor& col, const Tensor& t_crow, const Tensor& t_col,
          const Tensor& permutation)
      : w(csr(crow, col, t_crow.numel() - 1)),
        wt(csr(t_crow, t_col, w.rows)),
        permutation(static_cast<const int32_t*>(permutation.const_data_ptr())) {
    check_indices(permutation, "permutation", ScalarType::Int, w.nnz());
    check_indices(t_col, "t_col_indices", ScalarType::Int, w.nnz());
  }
};

}  // namespace sparse_engine::bindings
