// Elementwise functions of the recurrent cells, and their derivatives from their values.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

namespace sparse_engine::cuda {
namespace {

struct Tanh {
  template <typename T>
  __device__ static T of(T x) {
    return std::tanh(x);
  }
  template <typename T>
  __device__ static T slope(T y) {
    return T(1) - y * y;
  }
};

struct Sigmoid {
  template <typename T>
  __device__ static T of(T x) {
    return T(1) / (T(1) + std::exp(-x));
  }
  template <typename T>
  __device__ static T slope(T y) {
    return y * (T(1) - y);
  }
};

struct Relu {
  template <typename T>
  __device__ static T of(T x) {
    return x < T(0) ? T(0) : x;
  }
  template <typename T>
  __device__ static T slope(T y) {
    return y > T(0) ? T(1) : T(0);
  }
};

}  // namespace
}  // namespace sparse_engine::cuda
