// As much of the CUDA runtime as the kernels use, on the CPU, for tests: kernels are compiled as
// ordinary C++ and every CUDA thread is a fiber. Fibers run one at a time, each up to its next
// barrier, so that results do not depend on timing; SIMT_ORDER=descending runs them the other way
// round, and what differs between the two is a race.
//
// Stricter than a GPU: a barrier or a warp-wide operation that some threads of the block or the
// warp never reach is an error, and the shared memory that a launch asks for starts as NaN. Laxer:
// everything a thread wrote is seen by all at once, and shared arrays keep what an earlier block
// left there.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __shared__ thread_local  // all fibers are of one thread; see show_shared_memory_of

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// Of the running fiber.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

enum cudaError_t {
  cudaSuccess,
  cudaErrorInvalidConfiguration,
  cudaErrorLaunchFailure,
  cudaErrorCooperativeLaunchTooLarge
};
// The last error, which stays until it is asked for.
cudaError_t cudaGetLastError();

namespace simt {

enum class Scope { kBlock, kGrid };

// Returns when all threads of the scope have called it.
void wait(Scope scope);

// other = what lane `from` gives as its own, once all lanes of the mask have called it.
void exchange(unsigned mask, const void* own, void* other, size_t bytes, int from);

// Of the shared memory that a launch may ask for: a few rows of a panel.
constexpr size_t kMostShared = 1 << 10;

// Whether a launch that is as it should be fails all the same, and how.
cudaError_t trouble(bool cooperative);

// Keeps an error for cudaGetLastError.
cudaError_t noted(cudaError_t error);

// Runs body once per thread, with so much shared memory for each block; false where threads missed
// a barrier.
bool run(dim3 grid, dim3 block, size_t shared, bool cooperative, const std::function<void()>& body);

int lane();

}  // namespace simt

const char* cudaGetErrorString(cudaError_t error);

using cudaStream_t = struct Stream_*;

enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrCooperativeLaunch,
  cudaDevAttrL2CacheSize,
  cudaDevAttrMaxSharedMemoryPerBlockOptin
};

// A GPU of two processors that hold a block each; SIMT_COOPERATIVE=0 takes cooperative launches
// away, SIMT_COOPERATIVE=busy lets them fail, as if another process had part of the GPU, and
// SIMT_FAILS=1 lets all launches fail.
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int device);
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel, int, size_t) {
  *blocks = 1;
  return cudaSuccess;
}

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, cudaFuncAttribute, int bytes) {
  // A smaller number could take memory away from a launch of another thread.
  return bytes == static_cast<int>(simt::kMostShared) ? cudaSuccess : cudaErrorInvalidConfiguration;
}

inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}

constexpr int cudaLaunchAttributeCooperative = 1;
struct cudaLaunchAttribute {
  int id;
  struct {
    int cooperative;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

template <class... Parameters, class... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Args&&... args) {
  const bool cooperative = config->numAttrs > 0 && config->attrs->val.cooperative;
  if (config->gridDim.x == 0 || (cooperative && config->gridDim.x > 2) ||
      config->blockDim.x > 1024 || config->dynamicSmemBytes > simt::kMostShared)
    return simt::noted(cudaErrorInvalidConfiguration);
  if (simt::trouble(cooperative) != cudaSuccess) return simt::noted(simt::trouble(cooperative));
  return simt::noted(simt::run(config->gridDim, config->blockDim, config->dynamicSmemBytes,
                               cooperative, [&] { kernel(args...); })
                         ? cudaSuccess
                         : cudaErrorLaunchFailure);
}

inline void __syncthreads() { simt::wait(simt::Scope::kBlock); }

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
  static_assert(std::is_trivially_copyable_v<T>);
  T other;
  simt::exchange(mask, &value, &other, sizeof(T), simt::lane() ^ distance);
  return other;
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int from) {
  T other;
  simt::exchange(mask, &value, &other, sizeof(T), from);
  return other;
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, int distance) {
  T other;
  const int from = simt::lane() - distance;
  simt::exchange(mask, &value, &other, sizeof(T), from < 0 ? simt::lane() : from);
  return other;
}

inline int __reduce_max_sync(unsigned mask, int value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    const int other = __shfl_xor_sync(mask, value, distance);
    value = value < other ? other : value;
  }
  return value;
}
