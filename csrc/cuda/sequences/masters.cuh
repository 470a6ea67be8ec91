// The master gates of the ordered-neurons LSTM: cumulative sums of a softmax over the chunks, and
// the backward pass. A warp has one column of one master, its lanes the chunks; all of its lanes
// call these functions. A row is `width` numbers behind the one before.
#pragma once

#include <cmath>

#include "runtime/launch.cuh"

namespace sparse_engine::cuda {
namespace {

struct Sum {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

struct Most {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

// The same for all lanes.
template <class Combine, typename T>
__device__ T over_warp(T own, const Combine& combine) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    own = combine(own, __shfl_xor_sync(~0u, own, distance));
  return own;
}

// The sum over the lanes up to this one.
template <typename T>
__device__ T sum_up_to_lane(T own) {
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const T below = __shfl_up_sync(~0u, own, distance);
    if (static_cast<int>(threadIdx.x) % kWarp >= distance) own += below;
  }
  return own;
}

// Calls take(i, value(0) + .. + value(i)) for 0 <= i < n.
template <typename T, class Value, class Take>
__device__ void cumulate(int64_t n, const Value& value, const Take& take) {
  T before = 0;
  for (int64_t first = 0; first < n; first += kWarp) {
    const int64_t i = first + threadIdx.x % kWarp;
    const T own = i < n ? value(i) : T(0), sum = before + sum_up_to_lane(own);
    if (i < n) take(i, sum);
    before = __shfl_sync(~0u, sum, kWarp - 1);
  }
}

template <typename T>
struct Master {
  int64_t chunks;
  int width;
  bool is_in;  // the input gate's, which is one minus the sums

  __device__ int64_t own() const { return threadIdx.x % kWarp; }

  // In place.
  __device__ void softmax(T* u) const {
    T most = -INFINITY, total = 0;
    for (int64_t k = own(); k < chunks; k += kWarp) most = Most()(most, u[k * width]);
    most = over_warp(most, Most());
    for (int64_t k = own(); k < chunks; k += kWarp) {
      u[k * width] = std::exp(u[k * width] - most);
      total += u[k * width];
    }
    total = over_warp(total, Sum());
    for (int64_t k = own(); k < chunks; k += kWarp) u[k * width] /= total;
  }

  // From the softmax.
  __device__ void gate(const T* p, T* master) const {
    cumulate<T>(
        chunks, [&](int64_t k) { return p[k * width]; },
        [&](int64_t k, T sum) { master[k * width] = is_in ? T(1) - sum : sum; });
  }

  // From the gradients of the gate, one for each of the `chunk` units that share it, to those of
  // u, which take the place of the softmax. `later` has room for a number per chunk.
  __device__ void back(const T* dgate, int64_t chunk, T* later, T* p) const {
    T mean = 0;
    cumulate<T>(
        chunks,
        [&](int64_t i) {
          T sum = 0;
          for (int64_t unit = 0; unit < chunk; ++unit)
            sum += dgate[((chunks - 1 - i) * chunk + unit) * width];
          return is_in ? -sum : sum;
        },
        [&](int64_t i, T sum) {
          const int64_t k = chunks - 1 - i;
          later[k * width] = sum;
          mean += sum * p[k * width];
        });
    mean = over_warp(mean, Sum());
    // In the order in which this lane has written them.
    for (int64_t i = own(); i < chunks; i += kWarp) {
      const int64_t at = (chunks - 1 - i) * width;
      p[at] *= later[at] - mean;
    }
  }
};

}  // namespace
}  // namespace sparse_engine::cuda
