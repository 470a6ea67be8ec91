// The Elman network: h = act(z) with z = W_ih x + b + W_hh h_before, and act tanh or relu.
#pragma once

#include "cell.h"
#include "sparse_engine/rnn.h"

namespace sparse_engine {
namespace {

// The activation is chosen at run time by a branch that is always predicted, where a template would
// make twice the code. Tanh stands in line, since relu takes no time to jump to.
struct Elman {
  static constexpr int kGates = 1;
  static constexpr bool kHasMemory = false;

  Activation activation;

  // h, from z.
  template <class Math, class Number>
  SE_CELL Number forward(Number z) const {
    if (__builtin_expect(activation == Activation::kRelu, 0)) return z < 0 ? Number{} : z;
    return Math::tanh(z);
  }

  // The gradient of z, from h and the gradient of h.
  template <class Math, class Number>
  SE_CELL Number backward(Number h, Number dh) const {
    if (__builtin_expect(activation == Activation::kRelu, 0)) return h > 0 ? dh : Number{};
    return dh * tanh_slope<Math>(h);
  }
};

}  // namespace
}  // namespace sparse_engine
