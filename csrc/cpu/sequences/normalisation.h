// Layer normalisation of a panel's columns, by a team. In both directions it needs two sums over
// all features of a column: each member adds up the blocks of those it owns, and behind a barrier
// learns the whole for itself.
#pragma once

#include "sequences/block_sums.h"
#include "sparse_engine/normed.h"

namespace sparse_engine {
namespace {

template <typename T>
SE_INLINE T gain_of(const Norm<T>& norm, int64_t feature) {
  return norm.gain ? norm.gain[feature] : T(1);
}

// What a normalisation returns for a feature, from its normalised number.
template <typename T, int L>
SE_INLINE Vec<T, L> scaled(const Norm<T>& norm, int64_t feature, Vec<T, L> n) {
  return n * gain_of(norm, feature) + (norm.bias ? norm.bias[feature] : T(0));
}

// Forward, as one member of the team sees it.
template <typename T, int L, int NV>
struct Normalisation {
  const Norm<T>& norm;
  const BlockSums<T, L, NV>& sums;  // of all members
  State<T, L * NV> moments;         // [2]: mean and scale, this member's

  // Behind a barrier, after all features have been described to the sums.
  void learn(int64_t q) const { sums.moments(q, norm.eps, moments.panel(q)); }

  // Numbers of the columns of vector v, normalised.
  SE_INLINE Vec<T, L> operator()(Vec<T, L> x, int64_t q, int v) const {
    return (x - load<T, L>(moments.row(q, 0) + v * L)) * load<T, L>(moments.row(q, 1) + v * L);
  }
};

// The gradients of a normalisation's gain and bias, summed over all steps and columns.
template <typename T, int L>
class NormSums {
 public:
  NormSums(Scratch& scratch, int64_t features)
      : gain_(scratch.take<T>(features * L)), bias_(scratch.take<T>(features * L)) {}

  static size_t bytes(int64_t features) { return 2 * Scratch::bytes_of<T>(features * L); }

  void clear(const Rows& features) const {
    for (T* sums : {gain_, bias_})
      std::fill(sums + features.first * L, sums + features.last * L, T(0));
  }

  SE_INLINE void add(int64_t feature, Vec<T, L> dgain, Vec<T, L> dbias) const {
    T *gain = gain_ + feature * L, *bias = bias_ + feature * L;
    store<T, L>(gain, load<T, L>(gain) + dgain);
    store<T, L>(bias, load<T, L>(bias) + dbias);
  }

  void write(const Rows& features, const NormGradient<T>& to) const {
    for (int64_t i = features.first; i < features.last; ++i) {
      to.gain[i] = sum_of_lanes<T, L>(load<T, L>(gain_ + i * L));
      to.bias[i] = sum_of_lanes<T, L>(load<T, L>(bias_ + i * L));
    }
  }

 private:
  T *gain_, *bias_;
};

// Backward, as one member of the team sees it. With n the normalised number, dy the gradient of
// what the normalisation returned, and dn = gain dy, the gradient of the number itself is
//   scale (dn - mean(dn) - n mean(dn n)).
template <typename T, int L, int NV>
struct NormalisationBackward {
  static constexpr int W = L * NV;

  const Norm<T>& norm;
  const NormSums<T, L>& totals;     // of all members
  const BlockSums<T, L, NV>& sums;  // of all members
  State<T, W> means;                // [2]: of dn and of dn n, this member's

  // dy of the features that units [first, first + count) of a gate have, rows of dy; the normalised
  // numbers are n(unit, v).
  template <class Numbers>
  SE_INLINE void take_in(int64_t q, int64_t gate, int64_t first, int count, const T* dy,
                         const Numbers& n) const {
    sums.sum(q, gate, first, count, [&](int r, Vec<T, L>(&of_dn)[NV], Vec<T, L>(&of_dn_n)[NV]) {
      const int64_t feature = gate * sums.units() + first + r;
      const T gain = gain_of(norm, feature);
      Vec<T, L> dgain = {}, dbias = {};
      for (int v = 0; v < NV; ++v) {
        const Vec<T, L> here = load<T, L>(dy + r * W + v * L), here_n = here * n(first + r, v);
        of_dn[v] += here * gain, of_dn_n[v] += here_n * gain;
        dbias += here, dgain += here_n;
      }
      totals.add(feature, dgain, dbias);
    });
  }

  // Behind a barrier, after all features have been taken in.
  void learn(int64_t q) const { sums.means(q, means.panel(q)); }

  // The gradient of the numbers of vector v.
  SE_INLINE Vec<T, L> operator()(Vec<T, L> dy, int64_t feature, Vec<T, L> n, Vec<T, L> scale,
                                 int64_t q, int v) const {
    const T *of_dn = means.row(q, 0) + v * L, *of_dn_n = means.row(q, 1) + v * L;
    return scale * (dy * gain_of(norm, feature) - load<T, L>(of_dn) - n * load<T, L>(of_dn_n));
  }
};

}  // namespace
}  // namespace sparse_engine
