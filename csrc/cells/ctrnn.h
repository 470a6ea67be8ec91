// One stage of the networks in continuous time: dh/dt = tanh(z) - rate h, where z is what the
// weights and the input make of the state h that the stage looks at.
#pragma once

#include "cell.h"

namespace sparse_engine {
namespace {

struct Leaky {
  // The derivative of the state, from y = tanh(z).
  template <class Number, class Real>
  static SE_CELL Number derivative(Number y, Real rate, Number h) {
    return y - rate * h;
  }

  // The gradient of z, from that of the derivative. The gradient of h gets -rate dk beside what
  // comes by the weight, and that of rate -dk h.
  template <class Math, class Number>
  static SE_CELL Number backward(Number y, Number dk) {
    return dk * tanh_slope<Math>(y);
  }
};

}  // namespace
}  // namespace sparse_engine
