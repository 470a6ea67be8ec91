// The unfolds of which a step of the liquid time-constant recurrence consists.
#pragma once

#include "cells/ltc.h"
#include "sequences/stages.cuh"
#include "sequences/synapse.cuh"
#include "sparse_engine/ltc.h"

namespace sparse_engine::cuda {
namespace {

// Keeps one over the denominator.
template <typename T, int V>
struct Membranes {
  RowSums<T> sums;
  Synapses<T> synapses;
  const T* cm;           // [units]
  Steps<T> current;      // [steps][units]
  Steps<T> conductance;  // [steps][units], above zero in columns that do not exist, whose
                         // potentials must not become NaN
  int64_t unfolds;

  __host__ __device__ int64_t of_step() const { return unfolds; }
  __device__ bool has_second_phase() const { return sums.has_second_phase(); }

  template <class Keep>
  __device__ void stage(int64_t phase, int64_t t, int64_t, const Steps<T>& before,
                        const Keep& keep) const {
    const auto step = [&](int64_t unit, Column n, T(&drive)[2]) {
      const T potential = before(0, unit, n);
      T over;
      const T after = Membrane::forward(cm[unit], potential, current(t, unit, n) + drive[0],
                                        conductance(t, unit, n) + drive[1], over);
      keep(unit, n, potential, over, after);
    };
    sums.template phase<V, 1>(phase, Drive<T>{synapses, before.at(0)}, sums.extent(true), step);
  }
};

// The backward pass, from the gradient of each quotient to those of its numerator and denominator.
template <typename T, int V>
struct MembranesBack {
  Membranes<T, V> stages;
  StagesOfStep<T> own;
  RowSums<T> sums;  // of sources
  SynapsesBack<T> synapses;
  Steps<T> dn, dd;                  // [unfolds][units]
  Steps<T> dh;                      // [steps][units]
  Steps<T> dcurrent, dconductance;  // [steps][units]
  Steps<T> dcm;                     // [1][units], the sum over the steps so far
  Steps<T> carried;                 // [1][units], of the potentials after this step
  Resets resets;

  __device__ bool has_second_phase() const { return sums.has_second_phase(); }

  __device__ void operator()(int64_t phase, int64_t t, int64_t m) const {
    const bool enters = m + 1 == stages.of_step();
    const auto step = [&](int64_t unit, Column n, T(&sum)[1]) {
      T dv = enters ? carried(0, unit, n) + dh(t, unit, n)
                    : sum[0] + stages.cm[unit] * dn(m + 1, unit, n);
      if (m < 0) {
        resets.set_back(t, n, dv);
        carried(0, unit, n) = dv;
        return;
      }
      T of_n, of_d;
      dcm(0, unit, n) += Membrane::backward(dv, own.kept(m, unit, n), own.states(m, unit, n),
                                            own.states(m + 1, unit, n), of_n, of_d);
      dn(m, unit, n) = of_n, dd(m, unit, n) = of_d;
      dcurrent(t, unit, n) = of_n + (enters ? T(0) : dcurrent(t, unit, n));
      dconductance(t, unit, n) = of_d + (enters ? T(0) : dconductance(t, unit, n));
    };
    // The unfold behind this one; none where the step is entered.
    const int64_t later = enters ? m : m + 1;
    const DriveBack<T> terms{{synapses, own.states.at(later), dn.at(later), dd.at(later)}};
    sums.template phase<V, 1>(phase, terms, sums.extent(!enters), step);
  }
};

}  // namespace
}  // namespace sparse_engine::cuda
