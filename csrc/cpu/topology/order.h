// Numbers as keys that sort like them, and bins of keys.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace sparse_engine {
namespace {

// Sign, exponent and a few bits more: a histogram that stays in the first-level cache.
constexpr int kBinBits = 13;
constexpr int64_t kBins = int64_t{1} << kBinBits;

template <typename T>
using Key = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

// An unsigned integer that is ordered as the numbers are.
template <typename T>
Key<T> ordered(T value) {
  constexpr int kSign = 8 * sizeof(T) - 1;
  value += T(0);  // -0 becomes 0, so that the two are equal
  Key<T> bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits ^ ((Key<T>(0) - (bits >> kSign)) | Key<T>(1) << kSign);
}

template <typename T>
int64_t bin_of(Key<T> key) {
  return static_cast<int64_t>(key >> (8 * sizeof(T) - kBinBits));
}

}  // namespace
}  // namespace sparse_engine
