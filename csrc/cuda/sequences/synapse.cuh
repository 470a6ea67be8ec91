// Conductance synapses: what the links of a target add up to, and the backward pass from all
// targets to a source and to its links.
#pragma once

#include "cells/conductance.h"
#include "products/link_sums.cuh"
#include "products/product.cuh"
#include "runtime/activation.cuh"
#include "runtime/each.cuh"
#include "sparse_engine/conductance.h"

namespace sparse_engine::cuda {
namespace {

// The current and the conductance of a target.
template <typename T>
struct Drive {
  static constexpr int kSums = 2, kUnrolled = 2;

  Synapses<T> synapses;
  Panels<T> x;

  template <int V>
  __device__ auto of(int64_t, int64_t panel, int column) const {
    return [s = synapses, from = x.row(panel, 0) + column, stride = x.row_stride](
               int64_t link, int64_t source, Vec<T, V>(&sums)[2]) {
      const Vec<T, V> potential = load<V>(from + source * stride);
      const T weight = s.weight[link], mu = s.mu[link], sigma = s.sigma[link], erev = s.erev[link];
#pragma unroll
      for (int v = 0; v < V; ++v) {
        Synapse::add<ScalarMath<T>>(sums[0].at[v], sums[1].at[v], potential.at[v], weight, mu,
                                    sigma, erev);
      }
    };
  }
};

// The backward pass follows the transposed pattern, so that a source's own gradient, and those of
// its links, are sums of one group of lanes. In the order of its links:
template <typename T>
struct SynapsesBack {
  const T *mu, *sigma, *erev;  // [nnz]
  const T* push;               // [nnz], W sigma
};

// The gradient of a source's potential x, from those of its targets' currents and conductances.
template <typename T>
struct DriveBack {
  static constexpr int kSums = 1, kUnrolled = 2;

  SynapsesBack<T> synapses;
  Panels<T> x, dcurrent, dconductance;

  template <int V>
  __device__ auto of(int64_t source, int64_t panel, int column) const {
    return [s = synapses, potential = load<V>(x.row(panel, source) + column),
            of_current = dcurrent.row(panel, 0) + column,
            of_conductance = dconductance.row(panel, 0) + column,
            stride = dcurrent.row_stride](int64_t link, int64_t target, Vec<T, V>(&sums)[1]) {
      const Vec<T, V> di = load<V>(of_current + target * stride);
      const Vec<T, V> dg = load<V>(of_conductance + target * stride);
      const T mu = s.mu[link], sigma = s.sigma[link], erev = s.erev[link], push = s.push[link];
#pragma unroll
      for (int v = 0; v < V; ++v) {
        T of_link[4] = {};
        sums[0].at[v] += push * Synapse::backward<ScalarMath<T>>(of_link, potential.at[v], di.at[v],
                                                                 dg.at[v], mu, sigma, erev);
      }
    };
  }
};

// What the gradients of a link consist of, but for factors that stay the same.
template <typename T>
struct LinkBack {
  static constexpr int kSums = 4, kGathered = 2, kBlocks = 2;

  SynapsesBack<T> synapses;
  Panels<T> x, dcurrent, dconductance;

  __device__ const T* own(int64_t panel, int64_t source) const { return x.row(panel, source); }

  template <int V>
  __device__ void add(int64_t link, const Vec<T, V>& potential, int64_t panel, int64_t target,
                      int column, T (&sums)[4]) const {
    const Vec<T, V> di = load<V>(dcurrent.row(panel, target) + column);
    const Vec<T, V> dg = load<V>(dconductance.row(panel, target) + column);
    const T mu = synapses.mu[link], sigma = synapses.sigma[link], erev = synapses.erev[link];
#pragma unroll
    for (int v = 0; v < V; ++v) {
      Synapse::backward<ScalarMath<T>>(sums, potential.at[v], di.at[v], dg.at[v], mu, sigma, erev);
    }
  }
};

// Reads a link's parameters to its place in the transposed pattern.
template <typename T>
struct ToTransposed {
  Synapses<T> from;
  const int32_t* permutation;
  T *mu, *sigma, *erev, *push;

  __device__ void operator()(int64_t p) const {
    const int32_t link = permutation[p];
    mu[p] = from.mu[link];
    sigma[p] = from.sigma[link];
    erev[p] = from.erev[link];
    push[p] = from.weight[link] * sigma[p];
  }
};

// Writes a link's gradients from its sums, [4, nnz] in the order of the transposed pattern.
template <typename T>
struct FromTransposed {
  Synapses<T> of;
  const int32_t* permutation;
  const T* sums;
  int64_t nnz;
  SynapseGradients<T> to;

  __device__ void operator()(int64_t p) const {
    const int32_t link = permutation[p];
    T own[4];
    for (int i = 0; i < 4; ++i) own[i] = sums[i * nnz + p];
    Synapse::finish(own, of.weight[link], of.sigma[link]);
    to.weight[link] = own[Synapse::kOfWeight];
    to.mu[link] = own[Synapse::kOfMu];
    to.sigma[link] = own[Synapse::kOfSigma];
    to.erev[link] = own[Synapse::kOfErev];
  }
};

template <typename T>
SynapsesBack<T> transposed(const Synapses<T>& synapses, const int32_t* permutation, int64_t nnz,
                           const Stream& stream) {
  T* all = take<T>(stream, 4 * nnz);
  const ToTransposed<T> read{synapses, permutation, all, all + nnz, all + 2 * nnz, all + 3 * nnz};
  run_each(read, nnz, stream);
  return {read.mu, read.sigma, read.erev, read.push};
}

}  // namespace
}  // namespace sparse_engine::cuda
