// The terms in which the equations of all cells are written. A cell's header holds the forward and
// backward pass of one unit at one time step, once for all devices: the time loops of csrc/cpu call
// its functions with vectors of columns, those of csrc/cuda with single numbers.
//
// The functions are templates over a `Math` of the device, which has
//   Real: the type of one number;
//   Number: what is computed at once, a vector of Real or Real itself;
//   tanh(x), sigmoid(x), softplus(x) = log(1 + exp(x)): of a Number.
// A choice is written `x < y ? a : b`, which takes each lane of a vector by itself.
#pragma once

#if defined(__device__)  // defined by the compiler of the GPU, and by what simulates one
#define SE_CELL __device__ inline
#else
#define SE_CELL inline __attribute__((always_inline))
#endif

namespace sparse_engine {
namespace {

// The derivative of tanh where its value is y.
template <class Math, class Number>
SE_CELL Number tanh_slope(Number y) {
  return typename Math::Real(1) - y * y;
}

// The derivative of the logistic function where its value is y.
template <class Math, class Number>
SE_CELL Number sigmoid_slope(Number y) {
  return y * (typename Math::Real(1) - y);
}

}  // namespace
}  // namespace sparse_engine
