// The micro-kernel of the weight gradient: one dot product per link.
#pragma once

#include "dot.h"
#include "panel.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine {
namespace {

// At most this many vectors of a row of A stay in registers while its links are visited.
constexpr int kMostLeftVectors = 8;

// Adds to gradient[p], for consecutive links p, the dot product of a row of A with a row of B. The
// rows come in S segments of L * NV columns each: panels of the same columns, S of them at a time,
// so that the sums over lanes are rare. Each link leaves a vector of partial sums; as many of them
// as a vector has lanes are summed together, across rows too, since the links of neighbouring rows
// are neighbours in memory.
template <typename T, int L, int NV, int S>
class LinkSums {
  static constexpr int W = L * NV;
  // Sums over lanes are a good part of the work, and half as wide a vector has half as many.
  static constexpr int K = std::min<int>(L, kShuffleBytes / sizeof(T));

 public:
  // Of the links of w from row `first_row` on.
  LinkSums(T* gradient, const Csr& w, int64_t first_row, const Ahead& ahead)
      : to_(gradient + w.ptr[first_row]), last_(last_link(w)), ahead_(ahead) {}

  // The n links idx of one row. left[s] is that row in segment s of A, right[s] the whole segment
  // s of B as a panel.
  template <typename A>
  SE_INLINE void row(const A* const (&left)[S], const A* const (&right)[S], const int32_t* idx,
                     int64_t n) {
    HeldRow<T, K, W, A> a[S];
    for (int s = 0; s < S; ++s) a[s].load(left[s]);
    for (int64_t p = 0; p < n; ++p) {
      if (ahead_.links && p % K == 0) {
        fetch_stream(idx, p);
        fetch_stream(to_, 0);
      }
      if (ahead_.rows)
        for (int s = 0; s < S; ++s) fetch_row<W>(idx + p + kLinksAhead, last_, right[s]);
      const int64_t at = static_cast<int64_t>(idx[p]) * W;
      typename HeldRow<T, K, W, A>::Sums sums = {};
      for (int s = 0; s < S; ++s) a[s].add_products(right[s] + at, sums);
      if constexpr (sizeof sums > sizeof(Vec<T, K>))
        push(sum_of_halves<T, 2 * K>(sums));
      else
        push(sums);
    }
  }

  // Must follow the last row.
  void finish() {
    if constexpr (K > 1) {
      for (int i = held_; i < K; ++i) pending_[i] = Vec<T, K>{};
      const Vec<T, K> sums = sums_of<T, K>(pending_);
      for (int i = 0; i < held_; ++i) to_[i] += sums[i];
    }
  }

 private:
  SE_INLINE void push(Vec<T, K> sum) {
    if constexpr (K == 1) {
      *to_++ += sum;
    } else {
      pending_[held_++] = sum;
      if (held_ < K) return;
      store<T, K>(to_, load<T, K>(to_) + sums_of<T, K>(pending_));
      to_ += K;
      held_ = 0;
    }
  }

  T* to_;
  const int32_t* last_;
  const Ahead ahead_;
  int held_ = 0;
  Vec<T, K> pending_[K];
};

}  // namespace
}  // namespace sparse_engine
