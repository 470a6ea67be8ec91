// A program is a sequence of phases; all threads of a grid finish one before any begins the next.
//
// One cooperative kernel runs them all where the device allows it: the grid is as large as fits at
// once and waits for itself between phases. That costs about as much device time as the gap between
// two launches, but no time of the host, and unlike a captured graph it needs no preparation for
// each new shape. Elsewhere, every phase is a launch.
//
// A program is a class, passed to the kernel by value, of
//   kBlocks: how many blocks shall fit a multiprocessor, which limits the registers of a thread;
//     with shared memory, one block has the threads of all;
//   needed(phase): whether the phase has work; the same for all threads, and what it reads was
//     written before the program started;
//   operator()(phase).
// It has no shared memory but what its size asks for.
#pragma once

#include <cooperative_groups.h>

#include "runtime/launch.cuh"

namespace sparse_engine::cuda {
namespace {

template <class Program>
__global__ void __launch_bounds__(kThreads* Program::kBlocks, 1)
    run_phases(const Program program, int64_t first, int64_t last) {
  bool started = false;
  for (int64_t phase = first; phase < last; ++phase) {
    if (!program.needed(phase)) continue;
    if (started) cooperative_groups::this_grid().sync();
    started = true;
    program(phase);
  }
}

template <class Program>
cudaLaunchConfig_t blocks_of(const Size& size, const Stream& stream) {
  cudaLaunchConfig_t config = blocks_for(size.threads, stream);
  if (size.shared == 0) return config;
  // As much as there is, whatever this launch needs: two host threads may be here at once.
  check(cudaFuncSetAttribute(run_phases<Program>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)));
  config.gridDim = attribute(cudaDevAttrMultiProcessorCount);
  config.blockDim = kThreads * Program::kBlocks;
  config.dynamicSmemBytes = size.shared;
  return config;
}

// One launch per phase.
template <class Program>
void launch_each(const Program& program, int64_t phases, const Size& size, const Stream& stream) {
  const cudaLaunchConfig_t config = blocks_of<Program>(size, stream);
  if (config.gridDim.x == 0) return;
  for (int64_t phase = 0; phase < phases; ++phase)
    check(cudaLaunchKernelEx(&config, run_phases<Program>, program, phase, phase + 1));
}

// All phases in one launch, where that is possible.
template <class Program>
void run(const Program& program, int64_t phases, const Size& size, const Stream& stream) {
  if (!attribute(cudaDevAttrCooperativeLaunch)) return launch_each(program, phases, size, stream);
  cudaLaunchConfig_t config = blocks_of<Program>(size, stream);
  int per_processor = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_processor, run_phases<Program>,
                                                      static_cast<int>(config.blockDim.x),
                                                      config.dynamicSmemBytes));
  const int64_t fitting =
      static_cast<int64_t>(per_processor) * attribute(cudaDevAttrMultiProcessorCount);
  config.gridDim = static_cast<unsigned>(std::min<int64_t>(config.gridDim.x, fitting));
  cudaLaunchAttribute cooperative = {};
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  config.attrs = &cooperative;
  config.numAttrs = 1;
  const cudaError_t error =
      cudaLaunchKernelEx(&config, run_phases<Program>, program, int64_t{0}, phases);
  // Where other processes or contexts have part of the multiprocessors, not all blocks fit.
  if (error != cudaErrorCooperativeLaunchTooLarge) return check(error);
  cudaGetLastError();
  launch_each(program, phases, size, stream);
}

}  // namespace
}  // namespace sparse_engine::cuda
