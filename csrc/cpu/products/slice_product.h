// The micro-kernel of quantized links: one slice of 16 rows times one column.
#pragma once

#include <algorithm>

#include "products/row_product.h"
#include "runtime/kept.h"
#include "sparse_engine/quantized.h"

namespace sparse_engine {
namespace {

template <int L>
SE_INLINE Vec<float, L> codes_at(const BFloat16* codes) {
  return widened<L>(codes);
}

template <int L>
SE_INLINE Vec<float, L> codes_at(const int8_t* codes) {
#if defined(__AVX512F__)
  if constexpr (L == 16) {
    const auto bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes));
    return reinterpret_cast<Vec<float, L>>(
        _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, bytes)));
  }
#endif
  Vec<int8_t, L> bytes;
  std::memcpy(&bytes, codes, sizeof bytes);
  return __builtin_convertvector(bytes, Vec<float, L>);
}

// The entries of a group of x at the places of a slot.
#if defined(__AVX512F__)
// The group stays in four registers. Two permutations select among 32 entries each, and the sixth
// bit of a place between both.
class GroupOfX {
 public:
  static constexpr int kLanes = 16;

  explicit SE_INLINE GroupOfX(const float* x) {
    for (int i = 0; i < 4; ++i) part_[i] = _mm512_loadu_ps(x + 16 * i);
  }

  SE_INLINE Vec<float, kLanes> at(const uint8_t* places) const {
    const __m512i index = _mm512_maskz_cvtepu8_epi32(
        0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(places)));
    const __m512 low = _mm512_permutex2var_ps(part_[0], index, part_[1]);
    const __m512 high = _mm512_permutex2var_ps(part_[2], index, part_[3]);
    const __mmask16 in_high = _mm512_test_epi32_mask(index, _mm512_set1_epi32(32));
    return reinterpret_cast<Vec<float, kLanes>>(_mm512_mask_mov_ps(low, in_high, high));
  }

 private:
  __m512 part_[4];
};
#else
class GroupOfX {
 public:
  static constexpr int kLanes = kShuffleBytes / 4;

  explicit SE_INLINE GroupOfX(const float* x) : x_(x) {}

  SE_INLINE Vec<float, kLanes> at(const uint8_t* places) const {
    return gathered<float, kLanes>([&](int l)
                                       SE_INLINE_LAMBDA { return x_[places[l] % kGroupColumns]; });
  }

 private:
  const float* x_;
};
#endif

// sums[r] = sum of code * x over the links of row r of the slice. x has groups() * kGroupColumns
// entries, those behind the last column zero. Even and odd slots have sums of their own, since one
// chain of multiply-adds would wait for its own latency.
template <typename V>
SE_NOINLINE void slice_product(const Quantized<V>& w, int64_t slice, const float* x, float* sums) {
  constexpr int L = GroupOfX::kLanes, P = kSliceRows / L;
  const uint32_t slots = static_cast<uint32_t>(w.slots);
  const int64_t groups = w.groups();
  const int32_t* ends = w.ends + slice * groups;
  Vec<float, L> even[P] = {}, odd[P] = {};
  // Pointers that make no sense lead to no slot, or to one that exists.
  const auto slot_at = [&](int64_t group) SE_INLINE_LAMBDA {
    return std::min(static_cast<uint32_t>(ends[group]), slots);
  };
  int64_t k = slot_at(0);
  for (int64_t group = 0; group < groups; ++group) {
    const GroupOfX own(x + group * kGroupColumns);
    const int64_t end = slot_at(group + 1);
    const auto add = [&](int64_t slot, Vec<float, L>(&to)[P]) SE_INLINE_LAMBDA {
      for (int i = 0; i < P; ++i) {
        const int64_t at = slot * kSliceRows + i * L;
        to[i] += codes_at<L>(w.codes + at) * own.at(w.places + at);
      }
    };
    for (; k + 2 <= end; k += 2) {
      add(k, even);
      add(k + 1, odd);
    }
    if (k < end) add(k++, even);
    // Prefetches the links of the group after the next one.
    for (int line = 0; line < 2; ++line) {
      fetch_stream(w.codes, (k + 48) * kSliceRows + line * 64);
      fetch_stream(w.places, (k + 48) * kSliceRows + line * 64);
    }
  }
  for (int i = 0; i < P; ++i) store<float, L>(sums + i * L, even[i] + odd[i]);
}

// Entries of x that slice_product() reads.
template <typename V>
inline int64_t padded_columns(const Quantized<V>& w) {
  return w.groups() * kGroupColumns;
}

// Multiply-adds that take as long as the visit to all slots.
template <typename V>
inline int64_t work_of(const Quantized<V>& w) {
  return w.slots * (kSliceRows / 4);
}

}  // namespace
}  // namespace sparse_engine
