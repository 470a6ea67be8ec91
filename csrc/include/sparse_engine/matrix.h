// The two matrix types that every kernel takes. Neither owns memory.
#pragma once

#include <cstdint>

namespace sparse_engine {

// The pattern of a sparse matrix of `rows` x `cols` in compressed sparse row form.
struct Csr {
  const int64_t* ptr;  // [rows + 1], ptr[0] = 0, non-decreasing
  const int32_t* idx;  // [ptr[rows]], column of each link, strictly increasing within a row
  int64_t rows;
  int64_t cols;
  int64_t links;  // ptr[rows], for those who cannot read ptr: the arrays may be on a GPU
  const int32_t* plan = nullptr;  // [size_of_plan(links)], see plan.h; read on a GPU only

  int64_t nnz() const { return links; }
};

// A dense `features` x `columns` matrix; element (f, n) is data[f * feature_stride +
// n * column_stride]. At least one stride is 1: PyTorch's [batch, features] activations have
// feature_stride 1, a plain [features, batch] matrix has column_stride 1.
template <typename T>
struct Dense {
  T* data;
  int64_t feature_stride;
  int64_t column_stride;

  T* at(int64_t feature, int64_t column) const {
    return data + feature * feature_stride + column * column_stride;
  }
};

}  // namespace sparse_engine
