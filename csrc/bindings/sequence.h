// Arguments that all recurrent cells take.
#pragma once

#include "check.h"

namespace sparse_engine::bindings {

// A [steps, batch, features] activation, made contiguous.
inline Tensor sequence(const Tensor& t, const char* name, ScalarType type, int64_t features) {
  check_type(t, name, type);
  if (t.dim() != 3 || t.size(2) != features)
    fail("expected ", name, " of shape [steps, batch, ", features, "], found ", shape_of(t));
  return torch::stable::contiguous(t);
}

// The state of all units at one step, made contiguous.
inline std::optional<Tensor> state(const std::optional<Tensor>& t, const char* name,
                                   ScalarType type, int64_t batch, int64_t hidden) {
  if (!t) return std::nullopt;
  check_type(*t, name, type);
  check_shape(*t, name, {batch, hidden});
  return torch::stable::contiguous(*t);
}

// The dense input weights of `rows` rows, made contiguous.
inline std::optional<Tensor> input_weight(const std::optional<Tensor>& t, ScalarType type,
                                          int64_t rows) {
  if (!t) return std::nullopt;
  check_type(*t, "w_input", type);
  if (t->dim() != 2 || t->size(0) != rows)
    fail("expected w_input of shape [", rows, ", inputs], found ", shape_of(*t));
  if (t->size(1) == 0) fail("expected w_input of at least one input, found none");
  return torch::stable::contiguous(*t);
}

// The input of which w_input's gradient is wanted, or nothing.
inline std::optional<Tensor> input_of(const std::optional<Tensor>& t, ScalarType type,
                                      int64_t steps, int64_t batch) {
  if (!t) return std::nullopt;
  const Tensor x = sequence(*t, "x", type, t->dim() == 3 ? t->size(2) : 0);
  check_shape(x, "x", {steps, batch, x.size(2)});
  return x;
}

template <typename T>
T* mutable_data_or_null(std::optional<Tensor>& t) {
  return t ? mutable_data<T>(*t) : nullptr;
}

}  // namespace sparse_engine::bindings
