// The continuous-time network of Funahashi & Nakamura (1993): dh/dt = -rate h + tanh(x + W h).
#pragma once

#include "continuous.h"

namespace sparse_engine {
namespace {

struct Ctrnn {
  static constexpr int kActivations = 1;
  static constexpr bool kReadsState = true;

  template <class Math, class Number>
  SE_CELL Number read(Number h) const {
    return h;
  }

  template <class Math, class Number>
  SE_CELL Number drive(Number z) const {
    return Math::tanh(z);
  }

  template <class Number, class Real>
  SE_CELL Number derivative(Number y, Real rate, Number h) const {
    return y - rate * h;
  }

  template <class Math, class Number, class Real>
  SE_CELL Number backward(Number y, Real, Number dk) const {
    return dk * tanh_slope<Math>(y);
  }

  template <class Number>
  SE_CELL Number of_rate(Number, Number h) const {
    return -h;
  }

  template <class Math, class Number>
  SE_CELL Number read_backward(Number dread, Number, Number) const {
    return dread;
  }
};

}  // namespace
}  // namespace sparse_engine
