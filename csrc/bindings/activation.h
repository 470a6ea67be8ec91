// The activation of a cell that has a choice.
#pragma once

#include "check.h"
#include "sparse_engine/rnn.h"

namespace sparse_engine::bindings {

inline Activation activation_of(int64_t code) {
  if (code != 0 && code != 1) fail("expected activation 0 (tanh) or 1 (relu), found ", code);
  return code == 0 ? Activation::kTanh : Activation::kRelu;
}

}  // namespace sparse_engine::bindings
