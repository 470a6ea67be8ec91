// Small kernels, most of them wrong, for the test of the shim itself.
#include <cooperative_groups.h>

#include <utility>

namespace {

template <class... Args>
cudaError_t launch(void (*kernel)(Args...), unsigned blocks, bool cooperative, Args... args) {
  cudaLaunchAttribute attribute = {cudaLaunchAttributeCooperative, {1}};
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = 64;
  config.attrs = &attribute;
  config.numAttrs = cooperative;
  return cudaLaunchKernelEx(&config, kernel, args...);
}

void meet(unsigned from) {
  if (threadIdx.x >= from) __syncthreads();
}

void shuffle(unsigned from) {
  if (threadIdx.x >= from) __shfl_xor_sync(~0u, 1, 1);
}

void meet_grid(unsigned from) {
  if (threadIdx.x >= from) cooperative_groups::this_grid().sync();
}

void shift(int* numbers, bool wait) {
  const int next = numbers[(threadIdx.x + 1) % 64];
  if (wait) __syncthreads();
  numbers[threadIdx.x] = next;
}

int shifted(bool wait) {
  int numbers[64], sum = 0;
  for (int i = 0; i < 64; ++i) numbers[i] = i;
  launch(shift, 1, false, &numbers[0], wait);
  for (int i = 0; i < 64; ++i) sum += i * numbers[i];
  return sum;
}

void quarter_sums(int* sums) {
  const int lane = threadIdx.x % 32;
  int sum = lane;
  // Quarters of a warp go round a different number of times.
  for (int turn = 0; turn <= lane / 8; ++turn) {
    sum = lane;
    for (int distance = 4; distance > 0; distance /= 2)
      sum += __shfl_xor_sync(0xffu << (lane / 8 * 8), sum, distance);
  }
  sums[threadIdx.x] = sum + __shfl_xor_sync(~0u, 0, 16);
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default"))) int

EXPORT every_thread_at_the_barrier() { return launch(meet, 2, false, 0u); }
EXPORT half_a_block_at_the_barrier() { return launch(meet, 2, false, 32u); }
EXPORT half_a_warp_in_a_shuffle() { return launch(shuffle, 1, false, 16u); }
EXPORT half_a_grid_at_its_barrier() { return launch(meet_grid, 2, true, 32u); }
EXPORT neighbours_without_a_barrier() { return shifted(false); }
EXPORT neighbours_with_a_barrier() { return shifted(true); }

EXPORT last_error() { return cudaGetLastError(); }

EXPORT sum_of_each_quarter_warp() {
  int sums[64], wrong = 0;
  launch(quarter_sums, 1, false, &sums[0]);
  for (int i = 0; i < 64; ++i) wrong += sums[i] != 28 + i % 32 / 8 * 64;
  return wrong;
}
