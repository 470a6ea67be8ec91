// The micro-kernels of conductance synapses: the sums over one target's links, and back again, from
// the gradients of all targets to one source.
#pragma once

#include <algorithm>

#include "cells/conductance.h"
#include "runtime/activation.h"
#include "runtime/links.h"
#include "runtime/memory.h"
#include "runtime/panel.h"
#include "sparse_engine/conductance.h"

namespace sparse_engine {
namespace {

// What a synapse costs in multiply-adds, for the number of threads that pay.
constexpr int64_t kWorkPerSynapse = 16;

// The entries of x that K consecutive links read, where x is a single column.
template <typename T, int K>
SE_INLINE Vec<T, K> gather(const T* x, const int32_t* idx) {
  Vec<T, K> found;
  for (int l = 0; l < K; ++l) found[l] = x[idx[l]];
  return found;
}

// Lanes over the links of a single column.
template <typename T>
constexpr int kLinkLanes = kShuffleBytes / static_cast<int>(sizeof(T));

// Adds all links of target `row`; x is a panel of the sources, whose rows are fetched before their
// turn if `rows_ahead`.
template <typename T, int L, int NV>
SE_INLINE void add_synapses(Vec<T, L> (&current)[NV], Vec<T, L> (&conductance)[NV], const Csr& w,
                            const Synapses<T>& s, int64_t row, const T* x, bool rows_ahead) {
  const int64_t end = w.ptr[row + 1];
  int64_t p = w.ptr[row];
  if constexpr (L == 1) {
    constexpr int K = kLinkLanes<T>;
    Vec<T, K> currents = {}, conductances = {};
    for (; p + K <= end; p += K)
      Synapse::add<VectorMath<T, K>>(currents, conductances, gather<T, K>(x, w.idx + p),
                                     load<T, K>(s.weight + p), load<T, K>(s.mu + p),
                                     load<T, K>(s.sigma + p), load<T, K>(s.erev + p));
    current[0] += sum_of_lanes<T, K>(currents);
    conductance[0] += sum_of_lanes<T, K>(conductances);
  }
  for (; p < end; ++p) {
    if (rows_ahead) fetch_rows<L * NV>(w.idx, p + kNearRows, 1, w.nnz(), x);
    const T* from = x + static_cast<int64_t>(w.idx[p]) * (L * NV);
    for (int v = 0; v < NV; ++v)
      Synapse::add<VectorMath<T, L>>(current[v], conductance[v], load<T, L>(from + v * L),
                                     s.weight[p], s.mu[p], s.sigma[p], s.erev[p]);
  }
}

// Adds the sums over the lanes of four vectors to to[0..4).
template <typename T, int L>
SE_INLINE void add_four_sums(const Vec<T, L> (&v)[4], T* to) {
  if constexpr (L == 1) {
    for (int i = 0; i < 4; ++i) to[i] += v[i];
  } else if constexpr (L == 2) {
    for (int i = 0; i < 4; i += 2)
      store<T, 2>(to + i, load<T, 2>(to + i) + sums_of<T, 2>({v[i], v[i + 1]}));
  } else if constexpr (L == 4) {
    store<T, 4>(to, load<T, 4>(to) + sums_of<T, 4>(v));
  } else {
    constexpr auto half = std::make_integer_sequence<int, L / 2>();
    Vec<T, L / 2> halves[4];
    for (int i = 0; i < 4; ++i)
      halves[i] = lanes_of<0, T, L>(v[i], half) + lanes_of<L / 2, T, L>(v[i], half);
    add_four_sums<T, L / 2>(halves, to);
  }
}

// The backward pass. Links are visited source by source, in the order of the transposed pattern: a
// source's own gradient and those of its links are then sums that one thread takes in one order,
// and each link's logistic function is computed once for all of them.
template <typename T, int L, int NV>
class SynapseGradient {
  static constexpr int W = L * NV;

 public:
  static size_t bytes(int64_t nnz) {
    return 4 * Scratch::bytes_of<T>(nnz) + Scratch::bytes_of<T>(4 * nnz);
  }

  // All three must outlive this object.
  SynapseGradient(const Csr& wt, const int32_t* permutation, const Synapses<T>& synapses,
                  Scratch& scratch)
      : wt_(wt),
        permutation_(permutation),
        synapses_(synapses),
        mu_(scratch.take<T>(wt.nnz())),
        sigma_(scratch.take<T>(wt.nnz())),
        erev_(scratch.take<T>(wt.nnz())),
        push_(scratch.take<T>(wt.nnz())),
        sums_(scratch.take<T>(4 * wt.nnz())),
        rows_ahead_(fills_l2<T, W>(2 * wt.cols)) {}

  // Must precede add() for these sources, in the same thread.
  void clear(const Rows& sources) const {
    const int64_t first = wt_.ptr[sources.first], last = wt_.ptr[sources.last];
    for (int64_t p = first; p < last; ++p) {
      const int32_t link = permutation_[p];
      mu_[p] = synapses_.mu[link];
      sigma_[p] = synapses_.sigma[link];
      erev_[p] = synapses_.erev[link];
      push_[p] = synapses_.weight[link] * sigma_[p];
    }
    std::fill(sums_ + 4 * first, sums_ + 4 * last, T(0));
  }

  // Adds to dx, the gradient of `source` in one panel, and to the sums of its links. x is that row
  // of the panel; dcurrent and dconductance are the targets' whole panels.
  SE_INLINE void add(Vec<T, L> (&dx)[NV], int64_t source, const T* x, const T* dcurrent,
                     const T* dconductance) const {
    const int64_t end = wt_.ptr[source + 1];
    int64_t p = wt_.ptr[source];
    if constexpr (L == 1) {
      constexpr int K = kLinkLanes<T>;
      Vec<T, K> pushed = {};
      for (; p + K <= end; p += K) {
        Vec<T, K> sums[4] = {};
        const Vec<T, K> of_argument = Synapse::backward<VectorMath<T, K>>(
            sums, Vec<T, K>{} + *x, gather<T, K>(dcurrent, wt_.idx + p),
            gather<T, K>(dconductance, wt_.idx + p), load<T, K>(mu_ + p), load<T, K>(sigma_ + p),
            load<T, K>(erev_ + p));
        pushed += load<T, K>(push_ + p) * of_argument;
        for (int l = 0; l < K; ++l)
          for (int i = 0; i < 4; ++i) sums_[4 * (p + l) + i] += sums[i][l];
      }
      dx[0] += sum_of_lanes<T, K>(pushed);
    }
    for (; p < end; ++p) {
      if (rows_ahead_) {
        fetch_rows<W>(wt_.idx, p + kNearRows, 1, wt_.nnz(), dcurrent);
        fetch_rows<W>(wt_.idx, p + kNearRows, 1, wt_.nnz(), dconductance);
      }
      const int64_t at = static_cast<int64_t>(wt_.idx[p]) * W;
      Vec<T, L> sums[4] = {};
      for (int v = 0; v < NV; ++v)
        dx[v] += push_[p] * Synapse::backward<VectorMath<T, L>>(
                                sums, load<T, L>(x + v * L), load<T, L>(dcurrent + at + v * L),
                                load<T, L>(dconductance + at + v * L), mu_[p], sigma_[p], erev_[p]);
      add_four_sums<T, L>(sums, sums_ + 4 * p);
    }
  }

  // Writes the gradients of the links of these sources.
  void finish(const Rows& sources, const SynapseGradients<T>& to) const {
    for (int64_t p = wt_.ptr[sources.first]; p < wt_.ptr[sources.last]; ++p) {
      const int32_t link = permutation_[p];
      T sums[4];
      std::copy_n(sums_ + 4 * p, 4, sums);
      Synapse::finish(sums, synapses_.weight[link], sigma_[p]);
      to.weight[link] = sums[Synapse::kOfWeight];
      to.mu[link] = sums[Synapse::kOfMu];
      to.sigma[link] = sums[Synapse::kOfSigma];
      to.erev[link] = sums[Synapse::kOfErev];
    }
  }

 private:
  const Csr& wt_;
  const int32_t* const permutation_;
  const Synapses<T>& synapses_;
  // In the order of wt: the synapses' parameters, W sigma, and four sums for each link.
  T *const mu_, *const sigma_, *const erev_, *const push_, *const sums_;
  const bool rows_ahead_;
};

}  // namespace
}  // namespace sparse_engine
