// How numbers are kept in memory: as they are computed, or half as wide (bfloat16). What is loaded
// and stored changes from one to the other on the way.
#pragma once

#include <cstring>
#include <type_traits>

#include "runtime/launch.cuh"
#include "sparse_engine/bfloat16.h"

namespace sparse_engine::cuda {
namespace {

// What numbers that are kept as A are computed as.
template <typename A>
using Computed = std::conditional_t<std::is_same_v<A, BFloat16>, float, A>;

template <typename T>
__device__ inline T computed(T value) {
  return value;
}

__device__ inline float computed(BFloat16 kept) {
  const uint32_t bits = static_cast<uint32_t>(kept.bits) << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

template <typename A>
__device__ inline A kept_as(Computed<A> value) {
  return value;
}

// Half a unit in the last place is added, a little less where a tie must go down to be even. A NaN
// keeps its upper half, made quiet: the addition could carry it into infinity.
template <>
__device__ inline BFloat16 kept_as<BFloat16>(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits = value == value ? bits + 0x7fffu + (bits >> 16 & 1u) : bits | 0x400000u;
  return {static_cast<uint16_t>(bits >> 16)};
}

// V numbers that are loaded and stored together.
template <typename T, int V>
struct alignas(sizeof(T) * V) Vec {
  T at[V];
};

template <int V, typename A>
__device__ inline Vec<A, V> load_kept(const A* from) {
  return *reinterpret_cast<const Vec<A, V>*>(from);
}

template <int V, typename A>
__device__ inline Vec<Computed<A>, V> load(const A* from) {
  const Vec<A, V> kept = load_kept<V>(from);
  if constexpr (std::is_same_v<A, Computed<A>>) {
    return kept;
  } else {
    Vec<Computed<A>, V> vec;
#pragma unroll
    for (int v = 0; v < V; ++v) vec.at[v] = computed(kept.at[v]);
    return vec;
  }
}

template <int V, typename A>
__device__ inline void store(A* to, const Vec<Computed<A>, V>& vec) {
  Vec<A, V> kept;
#pragma unroll
  for (int v = 0; v < V; ++v) kept.at[v] = kept_as<A>(vec.at[v]);
  *reinterpret_cast<Vec<A, V>*>(to) = kept;
}

}  // namespace
}  // namespace sparse_engine::cuda
