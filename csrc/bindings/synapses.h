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

// Their gradients.
template <typename T>
struct SynapseResults {
  Result<T> weight, mu, sigma, erev;

  SynapseResults(const Tensor& like, int64_t nnz)
      : weight(like, {nnz}), mu(like, {nnz}), sigma(like, {nnz}), erev(like, {nnz}) {}

  SynapseGradients<T> view() { return {weight.data(), mu.data(), sigma.data(), erev.data()}; }
  void clear() { bindings::clear(weight, mu, sigma, erev); }
};

}  // namespace sparse_engine::bindings
