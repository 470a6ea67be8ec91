// The functions that cells are made of (csrc/cells), of one number.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "cells/cell.h"

namespace sparse_engine::cuda {
namespace {

template <typename T>
struct ScalarMath {
  using Real = T;
  using Number = T;

  __device__ static T tanh(T x) { return std::tanh(x); }
  __device__ static T sigmoid(T x) { return T(1) / (T(1) + std::exp(-x)); }
};

}  // namespace
}  // namespace sparse_engine::cuda
