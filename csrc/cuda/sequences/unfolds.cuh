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
  __device__ Vec<T, V> length(int64_t t, int64_t panel, int column) const {
    return load<V>(dt.at(t).row(panel, 0) + column);
  }

  // What stage m of step t reads, or with m = of_step() the next step.
  __device__ Panels<T> read_by(int64_t t, int64_t m) const {
    return m == 0 ? read.at(t) : m == of_step() ? read.at(t + 1) : between.at(m % places);
  }

  // Keeps what drives the state.
  template <class Keep>
  __device__ void stage(int64_t phase, int64_t t, int64_t m, const Panels<T>& before,
                        const Keep& keep) const {
    const bool is_first = method.is_first(m), is_last = method.is_last(m);
    const T weight = method.weight(m), node = method.next_node(m);
    const auto step = [&](int64_t unit, int64_t panel, int column, Vec<T, V>(&sums)[1]) {
      T* start_at = start.at(0).row(panel, unit) + column;
      T* end_at = end.at(0).row(panel, unit) + column;
      const Vec<T, V> h = load<V>(before.row(panel, unit) + column);
      const Vec<T, V> held = load<V>(x.at(t).row(panel, unit) + column);
      const Vec<T, V> from = is_first ? h : load<V>(start_at), length_of = length(t, panel, column);
      Vec<T, V> moved = is_first ? h : load<V>(end_at), y, after;
#pragma unroll
      for (int v = 0; v < V; ++v) {
        y.at[v] = cell.template drive<ScalarMath<T>>(held.at[v] + sums[0].at[v]);
        const T change = length_of.at[v] * cell.derivative(y.at[v], rate_of(unit), h.at[v]);
        moved.at[v] += weight * change;
        after.at[v] = is_last ? method.clipped(moved.at[v]) : from.at[v] + node * change;
      }
      if (!is_last) {
        if (is_first) store<V>(start_at, h);
        store<V>(end_at, moved);
      }
      keep(unit, panel, column, h, y, after);
      if constexpr (!Cell::kReadsState) {
        if (m + 1 == of_step()) resets.set_back(t + 1, panel * x.width + column, after);
#pragma unroll
        for (int v = 0; v < V; ++v) after.at[v] = cell.template read<ScalarMath<T>>(after.at[v]);
        store<V>(read_by(t, m + 1).row(panel, unit) + column, after);
      }
    };
    product.template phase<V, 1>(phase, Cell::kReadsState ? before : read_by(t, m), true, step);
  }
};

}  // namespace
}  // namespace sparse_engine::cuda
