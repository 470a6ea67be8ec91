// Spikes as events: which units spiked, and what they send along their links.
#pragma once

#include <algorithm>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "products/row_product.h"
#include "sequences/sequence.h"

namespace sparse_engine {
namespace {

// Whether a vector has other bits than those of zeros.
template <class V>
SE_INLINE bool any_bits(V v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    const auto bits = reinterpret_cast<__m512i>(v);
    return _mm512_test_epi64_mask(bits, bits) != 0;
  }
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(V) == 32) {
    const auto bits = reinterpret_cast<__m256i>(v);
    return !_mm256_testz_si256(bits, bits);
  }
#endif
  uint64_t words[sizeof(V) / 8], all = 0;
  std::memcpy(words, &v, sizeof v);
  for (const uint64_t word : words) all |= word;
  return all != 0;
}

// The units that spiked in the last steps, in order, in each panel. Each member of a team lists
// those of its own rows; a barrier must follow before others read them.
class SpikeLists {
  struct Size {
    int64_t first_row, units, arrivals;
  };

 public:
  SpikeLists(Scratch& scratch, int64_t steps, int64_t units, int64_t panels, int members)
      : units_(scratch.take<int32_t>(steps * panels * units)),
        sizes_(scratch.take<Size>(steps * panels * members)),
        steps_(steps),
        rows_(units),
        panels_(panels),
        members_(members) {
    // A team may have fewer members, whose lists nobody writes.
    std::fill_n(sizes_, steps * panels * members, Size{0, 0, 0});
  }

  static size_t bytes(int64_t steps, int64_t units, int64_t panels, int members) {
    return Scratch::bytes_of<int32_t>(steps * panels * units) +
           Scratch::bytes_of<Size>(steps * panels * members);
  }

  // Lists the spikes of some rows of a member at step t >= -steps, from the first one on.
  class Writer {
   public:
    Writer(const SpikeLists& lists, const Csr& wt, int64_t t, int64_t q, int member,
           int64_t first_row)
        : wt_(wt), size_(*lists.size(t, q, member)), to_(lists.list(t, q) + first_row) {
      size_ = {first_row, 0, 0};
    }

    void add(int64_t unit) {
      to_[size_.units++] = static_cast<int32_t>(unit);
      size_.arrivals += wt_.ptr[unit + 1] - wt_.ptr[unit];
    }

    // The units of a run of panel rows of width W that are not all zeros.
    template <typename T, int W>
    void add_rows(const T* rows, int64_t first, int count) {
      constexpr int K = kLanes<T>;
      const int n = count * W;
      for (int at = 0; at < n; at += K) {
        const Vec<T, K> z = load_first<T, K>(rows + at, n - at);
        if (!any_bits(z)) continue;
        int64_t last = size_.units > 0 ? to_[size_.units - 1] : -1;
        for (int k = 0; k < K && at + k < n; ++k) {
          const int64_t unit = first + (at + k) / W;
          if (z[k] != T(0) && unit != last) add(unit), last = unit;
        }
      }
    }

   private:
    const Csr& wt_;
    Size& size_;
    int32_t* const to_;
  };

  // Links that the spikes of step t travel along.
  int64_t arrivals(int64_t t, int64_t q) const {
    int64_t sum = 0;
    for (int member = 0; member < members_; ++member) sum += size(t, q, member)->arrivals;
    return sum;
  }

  // body(unit) for each of them.
  template <class Body>
  SE_INLINE void each(int64_t t, int64_t q, const Body& body) const {
    for (int member = 0; member < members_; ++member) {
      const Size& own = *size(t, q, member);
      const int32_t* units = list(t, q) + own.first_row;
      for (int64_t k = 0; k < own.units; ++k) body(units[k]);
    }
  }

 private:
  int64_t place(int64_t t, int64_t q) const { return (t + steps_) % steps_ * panels_ + q; }
  int32_t* list(int64_t t, int64_t q) const { return units_ + place(t, q) * rows_; }
  Size* size(int64_t t, int64_t q, int member) const {
    return sizes_ + place(t, q) * members_ + member;
  }

  int32_t* units_;
  Size* sizes_;
  int64_t steps_, rows_, panels_;
  int members_;
};

// The links of row j of wt that lead to `rows`: positions [first, last). Its indices increase.
inline Rows links_into(const Csr& wt, int64_t j, const Rows& rows) {
  const int32_t *begin = wt.idx + wt.ptr[j], *end = wt.idx + wt.ptr[j + 1];
  const int32_t* first = rows.first > 0 ? std::lower_bound(begin, end, rows.first) : begin;
  const int32_t* last = rows.last < wt.cols ? std::lower_bound(first, end, rows.last) : end;
  return {first - wt.idx, last - wt.idx};
}

// sums[i, :] += W[i, j] z[j, :] for the `rows` i of a member, where j is each unit that spiked, in
// order: for each i the terms, and their order, are those of in_rows() that are not zero.
// `values` are in the order of wt.
template <typename T, int L, int NV>
inline void by_events(const SpikeLists& spikes, int64_t t, int64_t q, const Csr& wt,
                      const T* values, const Rows& rows, const T* z, T* sums) {
  constexpr int W = L * NV;
  spikes.each(t, q, [&](int64_t j) {
    Vec<T, L> sent[NV];
    load_row<T, L>(z + j * W, sent);
    const Rows links = links_into(wt, j, rows);
    for (int64_t p = links.first; p < links.last; ++p) {
      fetch_rows<W>(wt.idx, p + kNearRows, 1, wt.nnz(), sums);
      T* sum = sums + int64_t{wt.idx[p]} * W;
      for (int v = 0; v < NV; ++v)
        store<T, L>(sum + v * L, load<T, L>(sum + v * L) + values[p] * sent[v]);
    }
  });
}

// sum = W[row, :] Z, term by term.
template <typename T, int L, int NV>
SE_INLINE void in_rows(Vec<T, L> (&sum)[NV], const Csr& w, const T* values, int64_t row,
                       const T* z) {
  for (int v = 0; v < NV; ++v) sum[v] = Vec<T, L>{};
  for (int64_t p = w.ptr[row]; p < w.ptr[row + 1]; ++p) {
    fetch_rows<L * NV>(w.idx, p + kNearRows, 1, w.nnz(), z);
    add_link<T, L, NV>(sum, values[p], w.idx[p], z);
  }
}

}  // namespace
}  // namespace sparse_engine
