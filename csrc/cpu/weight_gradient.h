// The gradient of a recurrent layer's links, dW = sum_t dz_t h_{t-1}^T, taken inside the time loop
// while the panels of the last few steps are in cache.
#pragma once

#include <algorithm>

#include "link_sums.h"
#include "links.h"
#include "sequence.h"

namespace sparse_engine {
namespace {

// gradient += sum over panel q of the S pairs of dz h^T, at the links of `rows`.
template <typename T, int L, int NV, int S, typename A>
inline void add_link_sums(const Csr& w, const Rows& rows, const State<A, L * NV> (&dz)[S],
                          const State<A, L * NV> (&h)[S], int64_t q, T* gradient) {
  const A *left[S], *right[S];
  for (int s = 0; s < S; ++s) right[s] = h[s].panel(q);
  LinkSums<T, L, NV, S> sums(gradient, w, rows.first, ahead_of<A, S * L * NV>(w));
  for (int64_t row = rows.first; row < rows.last; ++row) {
    for (int s = 0; s < S; ++s) left[s] = dz[s].row(q, row);
    sums.row(left, right, w.idx + w.ptr[row], w.ptr[row + 1] - w.ptr[row]);
  }
  sums.finish();
}

// One team member's share. Steps wait until there are enough of them to be taken together. States
// are kept as A.
template <typename T, int L, int NV, typename A = T>
class WeightGradient {
  static constexpr int W = L * NV;
  // Rows of dz of this many steps fit the registers.
  static constexpr int kMostSteps = NV == 1 ? 8 : NV == 2 ? 4 : 2;

 public:
  // How many steps are taken at a time: the panels of their states should share the second-level
  // cache. Rings must have one place more, so that the next step can begin while another thread
  // still works on these.
  static int64_t steps_together(int64_t units) {
    const int64_t panel_bytes = std::max<int64_t>(1, units) * W * static_cast<int64_t>(sizeof(A));
    return std::clamp<int64_t>(2 * l2_bytes() / panel_bytes, 1, kMostSteps);
  }

  // Clears the gradient of the links of `rows`; with null for `gradient`, none is wanted (and `w`
  // need not be a matrix).
  WeightGradient(const Csr& w, const Rows& rows, const Ring<A, W>& dz, const Ring<A, W>& h,
                 const Sequence<T, W>& seq, T* gradient)
      : w_(w),
        rows_(rows),
        dz_(dz),
        h_(h),
        seq_(seq),
        gradient_(gradient),
        together_(steps_together(w.cols)) {
    if (gradient) std::fill(gradient + w.ptr[rows.first], gradient + w.ptr[rows.last], T(0));
  }

  // dz_t is complete, as all later ones are. `first` is the first step with a state before it.
  void step(int64_t t, int64_t first) {
    waiting_ += t >= first;
    if (gradient_ == nullptr || (waiting_ < together_ && t > 0)) return;
    const int64_t earliest = std::max(t, first);
    for (int64_t q = 0; q < seq_.panels; ++q) {
      int64_t latest = earliest + waiting_ - 1;
      while (latest >= earliest && seq_.columns(q, latest) == 0) --latest;
      add<kMostSteps>(q, latest, latest - earliest + 1);
    }
    waiting_ = 0;
  }

 private:
  // Adds panel q of the given number of steps from t on downwards, in the largest groups of at most
  // S.
  template <int S>
  void add(int64_t q, int64_t t, int64_t steps) const {
    for (; steps >= S; steps -= S, t -= S) add_together<S>(q, t);
    if constexpr (S > 1)
      if (steps > 0) add<S / 2>(q, t, steps);
  }

  template <int S>
  void add_together(int64_t q, int64_t t) const {
    State<A, W> dz[S], h[S];
    for (int s = 0; s < S; ++s) dz[s] = dz_.at(t - s), h[s] = h_.at(t - s - 1);
    add_link_sums<T, L, NV, S>(w_, rows_, dz, h, q, gradient_);
  }

  const Csr& w_;
  const Rows rows_;
  const Ring<A, W>&dz_, &h_;
  const Sequence<T, W>& seq_;
  T* const gradient_;
  const int64_t together_;
  int64_t waiting_ = 0;
};

}  // namespace
}  // namespace sparse_engine
