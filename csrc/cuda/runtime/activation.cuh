// The functions that cells are made of (csrc/cells), of one number.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "cells/cell.h"

namespace sparse_engine::cuda {
namespace {

template <typename T>
struct Logistic {
  T value;       // y = 1 / (1 + exp(-x))
  T complement;  // 1 - y, as exact as y itself

  __device__ explicit Logistic(T x) {
    const T e = std::exp(-std::abs(x)), larger = T(1) / (T(1) + e), smaller = e * larger;
    value = x < T(0) ? smaller : larger;
    complement = x < T(0) ? larger : smaller;
  }
};

template <typename T>
struct ScalarMath {
  using Real = T;
  using Number = T;
  using Logistic = cuda::Logistic<T>;

  __device__ static T tanh(T x) { return std::tanh(x); }
  __device__ static T sigmoid(T x) { return T(1) / (T(1) + std::exp(-x)); }
  __device__ static T softplus(T x) {
    return (x < T(0) ? T(0) : x) + std::log1p(std::exp(-std::abs(x)));
  }
};

}  // namespace
}  // namespace sparse_engine::cuda
