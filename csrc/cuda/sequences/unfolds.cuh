// The stages of which a step of a continuous-time network consists: the forward pass runs through
// them, and the backward pass does once more for each step.
#pragma once

#include <cmath>

#include "cells/continuous.h"
#include "products/product.cuh"
#include "runtime/activation.cuh"
#include "sequences/sequence.cuh"
#include "sparse_engine/continuous.h"

namespace sparse_engine::cuda {
namespace {

// A Runge-Kutta method that fits a kernel's arguments.
template <typename T>
struct Method {
  T nodes[kMostStages], weights[kMostStages];
  int64_t stages, unfolds;
  T clip;

  // Of stage m of a step.
  __device__ bool is_first(int64_t m) const { return m % stages == 0; }
  __device__ bool is_last(int64_t m) const { return m % stages + 1 == stages; }
  __device__ T weight(int64_t m) const { return weights[m % stages]; }
  // That of the stage after it in the same unfold.
  __device__ T next_node(int64_t m) const { return is_last(m) ? T(0) : nodes[m % stages + 1]; }

  __device__ T clipped(T h) const { return h > clip ? clip : h < -clip ? -clip : h; }
  // Whether a gradient passes the state after an unfold.
  __device__ bool passes(T h) const { return std::isinf(clip) || (h < clip && h > -clip); }
};

template <typename T>
Method<T> method_of(const RungeKutta& method) {
  Method<T> of = {};
  for (int64_t i = 0; i < method.stages; ++i) {
    of.nodes[i] = static_cast<T>(method.nodes[i]);
    of.weights[i] = static_cast<T>(method.weights[i]);
  }
  of.stages = method.stages, of.unfolds = method.unfolds;
  of.clip = static_cast<T>(method.clip);
  return of;
}

template <class Cell, typename T, int V>
struct Unfolds {
  Cell cell;
  Product<T> product;
  Method<T> method;
  Steps<T> x;           // [steps][units]
  Steps<T> dt;          // [steps][1], zeros in columns that do not exist
  const T* rate;        // [units], or null for zeros
  Steps<T> start, end;  // [1][units], of this unfold
  // What products read of the states, unless it is the states themselves: of those before the
  // sequence and after each step, and of those that the stages of a step leave for the next.
  Steps<T> read = {};     // [1 + steps][units]
  Steps<T> between = {};  // [places][units], in turn
  int64_t places = 0;
  Resets resets = {};

  __host__ __device__ int64_t of_step() const { return method.stages * method.unfolds; }
  __device__ bool has_second_phase() const { return product.has_second_phase(); }

  __device__ T rate_of(int64_t unit) const { return rate ? rate[unit] : T(0); }
  // What stage m of step t reads, or with m = of_step() the next step.
  __device__ Steps<T> read_by(int64_t t, int64_t m) const {
    return m == 0 ? read.from(t) : m == of_step() ? read.from(t + 1) : between.from(m % places);
  }

  // Keeps what drives the state.
  template <class Keep>
  __device__ void stage(int64_t phase, int64_t t, int64_t m, const Steps<T>& before,
                        const Keep& keep) const {
    const bool is_first = method.is_first(m), is_last = method.is_last(m);
    const T weight = method.weight(m), node = method.next_node(m);
    const auto step = [&](int64_t unit, Column n, T(&sum)[1]) {
      const T h = before(0, unit, n), from = is_first ? h : start(0, unit, n);
      const T y = cell.template drive<ScalarMath<T>>(x(t, unit, n) + sum[0]);
      const T change = dt(t, 0, n) * cell.derivative(y, rate_of(unit), h);
      const T moved = (is_first ? h : end(0, unit, n)) + weight * change;
      T after = is_last ? method.clipped(moved) : from + node * change;
      if (!is_last) {
        if (is_first) start(0, unit, n) = h;
        end(0, unit, n) = moved;
      }
      keep(unit, n, h, y, after);
      if constexpr (!Cell::kReadsState) {
        if (m + 1 == of_step()) resets.set_back(t + 1, n, after);
        read_by(t, m + 1)(0, unit, n) = cell.template read<ScalarMath<T>>(after);
      }
    };
    product.template phase<V, 1>(phase, (Cell::kReadsState ? before : read_by(t, m)).at(0),
                                 product.extent(true), step);
  }
};

}  // namespace
}  // namespace sparse_engine::cuda
