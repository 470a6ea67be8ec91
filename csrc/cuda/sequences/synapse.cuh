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
  static constexpr int kSums = 2, kInFlight = 1;
  static constexpr bool kOfLinks = false;

  Synapses<T> synapses;
  Panels<T> x;

  template <int V>
  struct Of {
    struct Link {
      T weight, mu, sigma, erev;
      Vec<T, V> potential;
    };

    Synapses<T> s;
    const T* x;
    int stride;

    __device__ Link load(int64_t link, int source) const {
      return {s.weight[link], s.mu[link], s.sigma[link], s.erev[link],
              load_kept<V>(x + int64_t{source} * stride)};
    }
    __device__ void add(const Link& of, Vec<T, V> (&sums)[2]) const {
#pragma unroll
      for (int v = 0; v < V; ++v)
        Synapse::add<ScalarMath<T>>(sums[0].at[v], sums[1].at[v], of.potential.at[v], of.weight,
                                    of.mu, of.sigma, of.erev);
    }
  };

  template <int V>
  __device__ Of<V> of(int64_t, int64_t panel, int column) const {
    return {synapses, x.row(panel, 0) + column, static_cast<int>(x.row_stride)};
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
  static constexpr int kSums = 1, kInFlight = 1;
  static constexpr bool kOfLinks = false;

  SynapsesBack<T> synapses;
  Panels<T> x, dcurrent, dconductance;

  template <int V>
  struct Of {
    struct Link {
      T mu, sigma, erev, push;
      Vec<T, V> di, dg;
    };

    SynapsesBack<T> s;
    Vec<T, V> potential;
    const T *dcurrent, *dconductance;
    int stride;

    __device__ Link load(int64_t link, int target) const {
      return {s.mu[link],
              s.sigma[link],
              s.erev[link],
              s.push[link],
              load_kept<V>(dcurrent + int64_t{target} * stride),
              load_kept<V>(dconductance + int64_t{target} * stride)};
    }
    __device__ void add(const Link& of, Vec<T, V> (&sums)[1]) const {
#pragma unroll
      for (int v = 0; v < V; ++v) {
        T of_link[4] = {};
        sums[0].at[v] +=
            of.push * Synapse::backward<ScalarMath<T>>(of_link, potential.at[v], of.di.at[v],
                                                       of.dg.at[v], of.mu, of.sigma, of.erev);
      }
    }
  };

  template <int V>
  __device__ Of<V> of(int64_t source, int64_t panel, int column) const {
    return {synapses, load<V>(x.row(panel, source) + column), dcurrent.row(panel, 0) + column,
            dconductance.row(panel, 0) + column, static_cast<int>(dcurrent.row_stride)};
  }
};

// What the gradients of a link consist of, but for factors that stay the same.
template <typename T>
struct LinkBack {
  static constexpr int kSums = 4, kGathered = 2, kInFlight = 1, kBlocks = 2;

  SynapsesBack<T> synapses;
  Panels<T> x, dcurrent, dconductance;

  __device__ const T* own(int64_t panel, int64_t source) const { return x.row(panel, source); }

  template <int V>
  struct Link {
    T mu, sigma, erev;
    Vec<T, V> di, dg;
  };

  template <int V>
  __device__ Link<V> load(int64_t link, int64_t panel, int target, int column) const {
    return {synapses.mu[link], synapses.sigma[link], synapses.erev[link],
            load_kept<V>(dcurrent.row(panel, target) + column),
            load_kept<V>(dconductance.row(panel, target) + column)};
  }
  template <int V>
  __device__ void add(const Link<V>& of, const Vec<T, V>& potential, T (&sums)[4]) const {
#pragma unroll
    for (int v = 0; v < V; ++v)
      Synapse::backward<ScalarMath<T>>(sums, potential.at[v], of.di.at[v], of.dg.at[v], of.mu,
                                       of.sigma, of.erev);
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
