// The parameters of conductance synapses, as the operations receive them.
#pragma once

#include "check.h"
#include "sparse_engine/conductance.h"

namespace sparse_engine::bindings {

// Made contiguous, and kept alive.
template <typename T>
struct SynapseArguments {
  Tensor weight, mu, sigma, erev;

  SynapseArguments(const Tensor& weight, const Tensor& mu, const Tensor& sigma, const Tensor& erev,
                   int64_t nnz)
      : weight(vector(weight, "values", kType<T>, nnz)),
        mu(vector(mu, "mu", kType<T>, nnz)),
        sigma(vector(sigma, "sigma", kType<T>, nnz)),
        erev(vector(erev, "erev", kType<T>, nnz)) {}

  Synapses<T> view() const { return {data<T>(weight), data<T>(mu), data<T>(sigma), data<T>(erev)}; }
};

// Uninitialised, or zeros.
template <typename T>
struct SynapseResults {
  Tensor weight, mu, sigma, erev;

  SynapseResults(const Tensor& like, int64_t nnz)
      : weight(empty(like, {nnz})),
        mu(empty(like, {nnz})),
        sigma(empty(like, {nnz})),
        erev(empty(like, {nnz})) {}

  SynapseGradients<T> view() {
    return {mutable_data<T>(weight), mutable_data<T>(mu), mutable_data<T>(sigma),
            mutable_data<T>(erev)};
  }

  void clear() {
    for (Tensor* t : {&weight, &mu, &sigma, &erev}) torch::stable::zero_(*t);
  }
};

}  // namespace sparse_engine::bindings
