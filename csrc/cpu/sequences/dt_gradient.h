// The gradient of the length of an unfold, a sum over all units.
#pragma once

#include <algorithm>

#include "runtime/panel.h"
#include "sequences/sequence.h"

namespace sparse_engine {
namespace {

// Every block of rows, which no two members share, has a sum of its own, so that the order does not
// depend on the number of threads.
template <typename T, int L, int NV>
class DtGradient {
  static constexpr int W = L * NV;

 public:
  static int64_t blocks(int64_t units) { return (units + kBlock - 1) / kBlock; }
  static size_t bytes(int64_t units, int64_t panels) {
    return Ring<T, W>::bytes(2, blocks(units), panels);
  }

  DtGradient(Scratch& scratch, T* ddt, int64_t units, const Sequence<T, W>& seq)
      : seq_(seq), ddt_(ddt), sums_(scratch, 2, blocks(units), seq.panels) {}

  void clear(const Rows& rows, int64_t t) const {
    const State<T, W> sums = sums_.at(t);
    for (int64_t q = 0; q < seq_.panels; ++q)
      std::fill(sums.row(q, blocks(rows.first)), sums.row(q, blocks(rows.last)), T(0));
  }

  SE_INLINE void add(int64_t t, int64_t q, int64_t unit, int v, Vec<T, L> share) const {
    if (ddt_ == nullptr) return;
    T* at = sums_.at(t).row(q, unit / kBlock) + v * L;
    store<T, L>(at, load<T, L>(at) + share);
  }

  // For one member, when all have added their share of step t.
  void finish(int64_t t) const {
    if (ddt_ == nullptr) return;
    const State<T, W> sums = sums_.at(t);
    for (int64_t q = 0; q < seq_.panels; ++q)
      for (int n = 0; n < seq_.columns(q); ++n) {
        T sum = T(0);
        for (int64_t block = 0; block < sums.units; ++block) sum += sums.row(q, block)[n];
        ddt_[t * seq_.batch + q * W + n] = sum;
      }
  }

 private:
  const Sequence<T, W>& seq_;
  T* const ddt_;
  const Ring<T, W> sums_;
};

}  // namespace
}  // namespace sparse_engine
