// The rate network as neuroscience writes it: tau dv/dt = -v + z with z = x + W f(v), the firing
// rates f(v) of the potentials v, and f a choice of the network. The rate at which v leaks is 1 /
// tau.
#pragma once

#include "continuous.h"

namespace sparse_engine {
namespace {

struct RateRnn {
  static constexpr int kActivations = 4;
  static constexpr bool kReadsState = false;

  Activation f;

  template <class Math, class Number>
  SE_CELL Number read(Number v) const {
    if (f == Activation::kRelu) return v < 0 ? Number{} : v;
    if (f == Activation::kSoftplus) return Math::softplus(v);
    return f == Activation::kSigmoid ? Math::sigmoid(v) : Math::tanh(v);
  }

  template <class Math, class Number>
  SE_CELL Number read_backward(Number dread, Number read, Number v) const {
    if (f == Activation::kRelu) return v > 0 ? dread : Number{};
    if (f == Activation::kSoftplus) return dread * Math::sigmoid(v);
    return dread * (f == Activation::kSigmoid ? sigmoid_slope<Math>(read) : tanh_slope<Math>(read));
  }

  template <class Math, class Number>
  SE_CELL Number drive(Number z) const {
    return z;
  }

  template <class Number, class Real>
  SE_CELL Number derivative(Number z, Real rate, Number v) const {
    return rate * (z - v);
  }

  template <class Math, class Number, class Real>
  SE_CELL Number backward(Number, Real rate, Number dk) const {
    return rate * dk;
  }

  template <class Number>
  SE_CELL Number of_rate(Number z, Number v) const {
    return z - v;
  }
};

}  // namespace
}  // namespace sparse_engine
