// Dense two-dimensional arguments in either memory order.
#pragma once

#include "check.h"

namespace sparse_engine::bindings {

// Whether the columns of x are contiguous runs, as in the transpose of a [batch, features] tensor.
inline bool feature_last(const Tensor& x) {
  return x.size(1) > 1 && x.stride(0) == 1 && x.stride(1) != 1;
}

// x as it is where a kernel can read it, otherwise a contiguous copy.
inline Tensor readable(const Tensor& x, const char* name, ScalarType type, int64_t features) {
  check_type(x, name, type);
  if (x.dim() != 2 || x.size(0) != features)
    fail("expected ", name, " of shape [", features, ", columns], found ", shape_of(x));
  const bool rows_contiguous = x.size(1) == 1 || x.stride(1) == 1;
  return rows_contiguous || feature_last(x) ? x : made_contiguous(x);
}

// An uninitialised [features, columns] tensor in the memory order of x.
inline Tensor empty_like_order(const Tensor& x, int64_t features) {
  const int64_t columns = x.size(1);
  if (!feature_last(x)) return empty(x, {features, columns});
  Tensor turned = empty(x, {columns, features});
  return torch::stable::transpose(turned, 0, 1);
}

template <typename T>
Dense<T> view(const Tensor& t, T* data) {
  const int64_t column_stride = t.size(1) == 1 ? 1 : t.stride(1);
  const int64_t feature_stride = t.size(0) == 1 && column_stride != 1 ? 1 : t.stride(0);
  return {data, feature_stride, column_stride};
}

// The columns of a product that a contiguous [columns, features] array holds, one after the other.
template <typename T>
Dense<T> columns_of(T* data, int64_t columns, int64_t features) {
  return {data, 1, columns == 1 ? 1 : features};
}

}  // namespace sparse_engine::bindings
