// Prefix sums of whole numbers: exact, so the same in any order.
#pragma once

#include "runtime/launch.cuh"

namespace sparse_engine::cuda {
namespace {

// Numbers that a block adds up, in the first and the last of three launches.
constexpr int64_t kChunk = 4096;

// The sum over the threads of a block before this one; `all` becomes that over all of them. Every
// thread of the block calls it.
__device__ inline int64_t sum_before(int64_t own, int64_t& all) {
  constexpr int kWarpsOfBlock = kThreads / kWarp;
  __shared__ int64_t of_warp[kWarpsOfBlock];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  int64_t sum = own;
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int64_t below = __shfl_up_sync(~0u, sum, distance);
    if (lane >= distance) sum += below;
  }
  if (lane == kWarp - 1) of_warp[warp] = sum;
  __syncthreads();
  all = 0;
  for (int w = 0; w < kWarpsOfBlock; ++w) {
    if (w < warp) sum += of_warp[w];
    all += of_warp[w];
  }
  __syncthreads();
  return sum - own;
}

// sums[i] = start + the values before i, for first <= i < last; returns the sum up to last.
template <class Value>
__device__ int64_t scan_range(const Value& value, int64_t first, int64_t last, int64_t start,
                              int64_t* sums) {
  for (int64_t tile = first; tile < last; tile += kThreads) {
    const int64_t i = tile + threadIdx.x;
    int64_t all;
    const int64_t before = sum_before(i < last ? value(i) : 0, all);
    if (i < last) sums[i] = start + before;
    start += all;
  }
  return start;
}

template <class Value>
__global__ void __launch_bounds__(kThreads)
    sum_chunks(const Value value, int64_t n, int64_t* of_chunk) {
  for (int64_t chunk = blockIdx.x; chunk * kChunk < n; chunk += gridDim.x) {
    const int64_t last = n < (chunk + 1) * kChunk ? n : (chunk + 1) * kChunk;
    int64_t sum = 0, all;
    for (int64_t i = chunk * kChunk + threadIdx.x; i < last; i += kThreads) sum += value(i);
    sum_before(sum, all);
    if (threadIdx.x == 0) of_chunk[chunk] = all;
  }
}

// An array, as what is added up.
template <typename T>
struct Array {
  const T* data;
  __device__ int64_t operator()(int64_t i) const { return data[i]; }
};

__global__ void __launch_bounds__(kThreads)
    scan_chunks(const Array<int64_t> of_chunk, int64_t chunks, int64_t* before_chunk,
                int64_t* total) {
  const int64_t all = scan_range(of_chunk, 0, chunks, 0, before_chunk);
  if (threadIdx.x == 0) *total = all;
}

template <class Value>
__global__ void __launch_bounds__(kThreads)
    scan_in_chunks(const Value value, int64_t n, const int64_t* before_chunk, int64_t* sums) {
  for (int64_t chunk = blockIdx.x; chunk * kChunk < n; chunk += gridDim.x) {
    const int64_t last = n < (chunk + 1) * kChunk ? n : (chunk + 1) * kChunk;
    scan_range(value, chunk * kChunk, last, before_chunk[chunk], sums);
  }
}

// sums[i] = value(0) + .. + value(i - 1) for 0 <= i <= n; sums [n + 1].
template <class Value>
void scan(const Value& value, int64_t n, int64_t* sums, const Stream& stream) {
  const int64_t chunks = divide_up(n, kChunk);
  int64_t* of_chunk = take<int64_t>(stream, chunks);
  int64_t* before_chunk = take<int64_t>(stream, chunks);
  launch(sum_chunks<Value>, chunks * kThreads, stream, value, n, of_chunk);
  launch(scan_chunks, kThreads, stream, Array<int64_t>{of_chunk}, chunks, before_chunk, sums + n);
  launch(scan_in_chunks<Value>, chunks * kThreads, stream, value, n, before_chunk, sums);
}

// The first i in [first, last) for which the condition holds, or last; it must hold from there on.
template <class Condition>
__device__ int64_t first_where(int64_t first, int64_t last, const Condition& holds) {
  while (first < last) {
    const int64_t middle = first + (last - first) / 2;
    if (holds(middle))
      last = middle;
    else
      first = middle + 1;
  }
  return first;
}

}  // namespace
}  // namespace sparse_engine::cuda
