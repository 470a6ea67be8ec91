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
  __device__ void stage(int64_t phase, int64_t t, int64_t, const Panels<T>& before,
                        const Keep& keep) const {
    const auto step = [&](int64_t unit, int64_t panel, int column, Vec<T, V>(&drive)[2]) {
      const auto at = [&](const Panels<T>& panels) { return panels.row(panel, unit) + column; };
      const Vec<T, V> potential = load<V>(at(before)), given_current = load<V>(at(current.at(t)));
      const Vec<T, V> given_conductance = load<V>(at(conductance.at(t)));
      Vec<T, V> over, after;
#pragma unroll
      for (int v = 0; v < V; ++v) {
        after.at[v] =
            Membrane::forward(cm[unit], potential.at[v], given_current.at[v] + drive[0].at[v],
                              given_conductance.at[v] + drive[1].at[v], over.at[v]);
      }
      keep(unit, panel, column, potential, over, after);
    };
    sums.template phase<V, 1>(phase, Drive<T>{synapses, before}, true, step);
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
    const auto step = [&](int64_t unit, int64_t panel, int column, Vec<T, V>(&sum)[1]) {
      const auto at = [&](const Panels<T>& panels) { return panels.row(panel, unit) + column; };
      Vec<T, V> dv = enters ? load<V>(at(carried.at(0))) : sum[0];
      const Vec<T, V> more = load<V>(at(enters ? dh.at(t) : dn.at(m + 1)));
      const T factor = enters ? T(1) : stages.cm[unit];
#pragma unroll
      for (int v = 0; v < V; ++v) dv.at[v] += factor * more.at[v];
      if (m < 0) {
        resets.set_back(t, panel * carried.width + column, dv);
        return store<V>(at(carried.at(0)), dv);
      }

      const Vec<T, V> over = load<V>(at(own.kept.at(m)));
      const Vec<T, V> before = load<V>(at(own.states.at(m)));
      const Vec<T, V> after = load<V>(at(own.states.at(m + 1)));
      Vec<T, V> of_n, of_d, of_current = {}, of_conductance = {}, of_cm = load<V>(at(dcm.at(0)));
      if (!enters) {
        of_current = load<V>(at(dcurrent.at(t)));
        of_conductance = load<V>(at(dconductance.at(t)));
      }
#pragma unroll
      for (int v = 0; v < V; ++v) {
        of_cm.at[v] += Membrane::backward(dv.at[v], over.at[v], before.at[v], after.at[v],
                                          of_n.at[v], of_d.at[v]);
        of_current.at[v] += of_n.at[v];
        of_conductance.at[v] += of_d.at[v];
      }
      store<V>(at(dn.at(m)), of_n);
      store<V>(at(dd.at(m)), of_d);
      store<V>(at(dcurrent.at(t)), of_current);
      store<V>(at(dconductance.at(t)), of_conductance);
      store<V>(at(dcm.at(0)), of_cm);
    };
    // The unfold behind this one; none where the step is entered.
    const int64_t later = enters ? m : m + 1;
    const DriveBack<T> terms{synapses, own.states.at(later), dn.at(later), dd.at(later)};
    sums.template phase<V, 1>(phase, terms, !enters, step);
  }
};

}  // namespace
}  // namespace sparse_engine::cuda
