// Launching: one place that calls the CUDA runtime and looks at what it returns.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "sparse_engine/cuda.h"

namespace sparse_engine::cuda {

// The shared memory that a launch asks for, in each block.
alignas(16) extern __shared__ unsigned char shared_bytes[];

namespace {

constexpr int kWarp = 32;
constexpr int kThreads = 256;  // of every block without such memory

inline void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // otherwise PyTorch would raise it again, as that of its own next kernel
  throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

inline int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&value, which, device));
  return value;
}

inline cudaStream_t handle(const Stream& stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

template <typename T>
T* take(const Stream& stream, int64_t n) {
  return static_cast<T*>(stream.memory.take(std::max<int64_t>(1, n) * sizeof(T)));
}

template <typename T>
void fill_zeros(T* to, int64_t n, const Stream& stream) {
  check(cudaMemsetAsync(to, 0, n * sizeof(T), handle(stream)));
}

inline int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

// Enough blocks for `threads` threads, or as many as one launch may have: kernels take strides.
inline cudaLaunchConfig_t blocks_for(int64_t threads, const Stream& stream) {
  constexpr int64_t kMostBlocks = (int64_t{1} << 31) - 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = static_cast<unsigned>(std::min(divide_up(threads, kThreads), kMostBlocks));
  config.blockDim = kThreads;
  config.stream = handle(stream);
  return config;
}

// Runs kernel(args...) with so many threads.
template <class... Parameters, class... Args>
void launch(void (*kernel)(Parameters...), int64_t threads, const Stream& stream,
            const Args&... args) {
  if (threads == 0) return;
  const cudaLaunchConfig_t config = blocks_for(threads, stream);
  check(cudaLaunchKernelEx(&config, kernel, args...));
}

// One block of so many threads and bytes of shared memory on each multiprocessor.
template <class... Parameters>
cudaLaunchConfig_t on_all(void (*kernel)(Parameters...), int threads, int64_t shared,
                          const Stream& stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = attribute(cudaDevAttrMultiProcessorCount);
  config.blockDim = threads;
  config.dynamicSmemBytes = shared;
  config.stream = handle(stream);
  // As much as there is, whatever this launch needs: two host threads may be here at once.
  if (shared > 0)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)));
  return config;
}

// Position of this thread in the grid, and the size of the grid.
__device__ inline int64_t thread_in_grid() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t threads_of_grid() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

}  // namespace
}  // namespace sparse_engine::cuda
