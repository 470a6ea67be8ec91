// How the lanes of a warp share work, and how what they have added up becomes sums.
//
// A group of lanes has an item. Lanes beside each other have the columns of a panel, a vector of V
// each, and the rest of the group the links, several at once. So a panel of 32 columns of floats is
// read four links at a time by a warp, and one column 32 links at a time:
//
//   lane      0   1   2   3   4   5   6   7 |  8   9  ..  15 | 16 .. 23 | 24 .. 31
//   columns 0-3 4-7  ..              28-31  | 0-3  ..  28-31 |          |
//   links     k, .., k + 3                  | k + 4 ..       | k + 8 .. | k + 12, .., k + 15
#pragma once

#include "runtime/launch.cuh"

namespace sparse_engine::cuda {
namespace {

// How the lanes of a warp are shared out; both are powers of two.
struct Lanes {
  int group;   // lanes for one item, at most a warp
  int across;  // of these, lanes for the columns of a panel

  // For the links of so many items. Short items get few lanes, so that their links keep all of them
  // busy.
  static Lanes of(int64_t links, int64_t items, int width, int vector) {
    constexpr int kLinksPerLane = 4;
    const int across = width / vector;
    int group = kWarp;
    while (group > across && group / across * kLinksPerLane * items > links) group /= 2;
    return {group, across};
  }
};

// This thread's part of its group's work.
struct Lane {
  int slot, slots;  // of the links
  int column;       // the first of V

  __device__ Lane(const Lanes& lanes, int vector) {
    const int lane = static_cast<int>(threadIdx.x) & (lanes.group - 1);
    slot = lane / lanes.across;
    slots = lanes.group / lanes.across;
    column = (lane & (lanes.across - 1)) * vector;
  }
};

// Lanes have N sums each, and those that differ in some bits of their number add them up. At each
// bit two lanes exchange half of what they have, so that in the end every lane has other sums,
// complete; where one is left, lanes have the same. The bits are `most`, most / 2, .. `least`.
template <int N>
struct Exchange {
  int most, least, lane;
  int first, count;  // of the N sums, those that this lane has in the end: at[0], at[1], ..
  bool alone;        // whether it is the first of the lanes that have them

  __device__ Exchange(int most, int least)
      : most(most), least(least), lane(static_cast<int>(threadIdx.x) % kWarp), first(0), count(N) {
    int distance = most;
    for (; distance >= least && count > 1; distance /= 2) {
      count /= 2;
      if (lane & distance) first += count;
    }
    alone = distance < least || (lane & (2 * distance - least)) == 0;
  }

  // All lanes of the warp call it.
  template <typename T>
  __device__ void add(T (&at)[N]) const {
    halve<N>(most, at);
  }

 private:
  template <int M, typename T>
  __device__ void halve(int distance, T (&at)[N]) const {
    if constexpr (M > 1) {
      if (distance < least) return;
      const bool upper = lane & distance;
#pragma unroll
      for (int i = 0; i < M / 2; ++i) {
        const T own = upper ? at[i + M / 2] : at[i], other = upper ? at[i] : at[i + M / 2];
        at[i] = own + __shfl_xor_sync(~0u, other, distance);
      }
      halve<M / 2>(distance / 2, at);
    } else {
      for (; distance >= least; distance /= 2) at[0] += __shfl_xor_sync(~0u, at[0], distance);
    }
  }
};

// The largest number of any lane of the warp.
__device__ inline int largest(int own) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const int other = __shfl_xor_sync(~0u, own, distance);
    own = own < other ? other : own;
  }
  return own;
#else  // the compiler knows that the result is the same for all lanes
  return __reduce_max_sync(~0u, own);
#endif
}

// body(item) for the items below `items` that belong to one of so many warps; the lanes of a warp
// stay together, with item = -1 for those that have none.
template <typename I, class Body>
__device__ void for_each_item(const Lanes& lanes, I warp, I warps, I items, const Body& body) {
  const int per_warp = kWarp / lanes.group;
  const int own = static_cast<int>(threadIdx.x) % kWarp / lanes.group;
  for (I at = warp * per_warp; at < items; at += warps * per_warp)
    body(at + own < items ? at + own : -1);
}

// The same for the warps of the grid. They are numbered across blocks, so that all multiprocessors
// have some of few items.
template <class Body>
__device__ void for_each_item(const Lanes& lanes, int64_t items, const Body& body) {
  const int64_t warp = static_cast<int64_t>(threadIdx.x / kWarp) * gridDim.x + blockIdx.x;
  for_each_item<int64_t>(lanes, warp, threads_of_grid() / kWarp, items, body);
}

}  // namespace
}  // namespace sparse_engine::cuda
