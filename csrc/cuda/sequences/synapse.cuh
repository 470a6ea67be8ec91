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

  Synapses<T> synapses;
  Panels<T> x;

  template <int V>
  struct Of {
    struct Link {
      T weight, mu, sigma, erev;
      Vec<T, V> potential;
    };

    Synapses<T> s;
    Rows<T> x;

    __device__ Link load(int64_t link, int source) const {
      return {s.weight[link], s.mu[link], s.sigma[link], s.erev[link], x.template load<V>(source)};
    }
    __device__ void add(const Link& of, T (&sums)[2][V]) const {
#pragma unroll
      for (int v = 0; v < V; ++v)
        Synapse::add<ScalarMath<T>>(sums[0][v], sums[1][v], of.potential.at[v], of.weight, of.mu,
                                    of.sigma, of.erev);
    }
  };

  template <int V>
  __device__ Of<V> of(int64_t, int64_t panel, int column) const {
    return {synapses, x.rows(panel, column)};
  }
};

// The backward pass follows the transposed pattern, so that a source's own gradient, and those of
// its links, are sums of one group of lanes. In the order of its links:
template <typename T>
struct SynapsesBack {
  const T *mu, *sigma, *erev;  // [nnz]
  const T* push;               // [nnz], W sigma
};

// Their terms: a source's own potential x, and the gradients of its targets' currents and
// conductances.
template <typename T>
struct BackTerms {
  static constexpr int kInFlight = 1;

  SynapsesBack<T> synapses;
  Panels<T> x, dcurrent, dconductance;

  template <int V>
  struct Both {
    struct Link {
      T mu, sigma, erev, push;
      Vec<T, V> di, dg;
    };

    SynapsesBack<T> s;
    Vec<T, V> potential;
    Rows<T> dcurrent, dconductance;

    __device__ Link load(int64_t link, int target) const {
      return {s.mu[link],
              s.sigma[link],
              s.erev[link],
              s.push[link],
              dcurrent.template load<V>(target),
              dconductance.template load<V>(target)};
    }
    // The gradient of the potential but for `push`; adds to those of the link but for factors that
    // stay the same.
    __device__ T back(const Link& of, int v, T (&of_link)[4]) const {
      return Synapse::backward<ScalarMath<T>>(of_link, potential.at[v], of.di.at[v], of.dg.at[v],
                                              of.mu, of.sigma, of.erev);
    }
  };

 protected:
  template <class Of>
  __device__ Of terms_of(int64_t source, int64_t panel, int column) const {
    constexpr int V = sizeof(Of::potential) / sizeof(T);
    return {{synapses, load<V>(x.row(panel, source) + column), dcurrent.rows(panel, column),
             dconductance.rows(panel, column)}};
  }
};

// The gradient of a source's potential.
template <typename T>
struct DriveBack : BackTerms<T> {
  static constexpr int kSums = 1;

  template <int V>
  struct Of : BackTerms<T>::template Both<V> {
    __device__ void add(const typename Of::Link& of, T (&sums)[1][V]) const {
#pragma unroll
      for (int v = 0; v < V; ++v) {
        T of_link[4] = {};
        sums[0][v] += of.push * this->back(of, v, of_link);
      }
    }
  };
  template <int V>
  __device__ Of<V> of(int64_t source, int64_t panel, int column) const {
    return this->template terms_of<Of<V>>(source, panel, column);
  }
};

// The gradients of a link.
template <typename T>
struct LinkBack : BackTerms<T> {
  static constexpr int kSums = 4, kGathered = 2;

  template <int V>
  struct Of : BackTerms<T>::template Both<V> {
    __device__ void add(const typename Of::Link& of, T* sums) const {
      T of_link[4] = {sums[0], sums[1], sums[2], sums[3]};
#pragma unroll
      for (int v = 0; v < V; ++v) this->back(of, v, of_link);
      for (int i = 0; i < 4; ++i) sums[i] = of_link[i];
    }
  };
  template <int V>
  __device__ Of<V> of(int64_t source, int64_t panel, int column) const {
    return this->template terms_of<Of<V>>(source, panel, column);
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
