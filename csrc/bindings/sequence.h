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

}  // namespace sparse_engine::bindings
