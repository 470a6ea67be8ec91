// The Elman network: h = act(z) with z = W_ih x + b + W_hh h_before, and act tanh or relu.
#pragma once

#include "cell.h"
#include "sparse_engine/rnn.h"

namespace sparse_engine {
namespace {

// The activation is a member of Choice: chosen at run time, by a branch that is always predicted,
// or at compile time, which makes twice the code. Tanh stands in line, since relu takes no time to
// jump to.
template <class Choice>
struct ElmanOf : Choice {
  static constexpr int kGates = 1;
  static constexpr bool kHasMemory = false;

  // h, from z.
  template <class Math, class Number>
  SE_CELL Number forward(Number z) const {
    if (__builtin_expect(this->activation == Activation::kRelu, 0)) return z < 0 ? Number{} : z;
    return Math::tanh(z);
  }

  // The gradient of z, from h and the gradient of h.
  template <class Math, class Number>
  SE_CELL Number backward(Number h, Number dh) const {
    if (__builtin_expect(this->activation == Activation::kRelu, 0)) return h > 0 ? dh : Number{};
    return dh * tanh_slope<Math>(h);
  }
};

struct AtRunTime {
  Activation activation;
};
template <Activation chosen>
struct AtCompileTime {
  static constexpr Activation activation = chosen;
};

using Elman = ElmanOf<AtRunTime>;

}  // namespace
}  // namespace sparse_engine
