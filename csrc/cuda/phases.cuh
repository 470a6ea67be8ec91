// A program is a sequence of phases; all threads of a grid finish one before any begins the next.
//
// One cooperative kernel runs them all where the device allows it: the grid is as large as fits at
// once and waits for itself between phases. That costs about as much device time as the gap between
// two launches, but no time of the host, and unlike a captured graph it needs no preparation for
// each new shape. Elsewhere, every phase is a launch.
//
// A program is a class, passed to the kernel by value, of
//   kBlocks: how many blocks shall fit a multiprocessor, which limits the registers of a thread;
//   needed(phase): whether the phase has work; the same for all threads, and what it reads was
//     written before the program started;
//   operator()(phase).
// It holds no shared memory.
#pragma once

#include <cooperative_groups.h>

#include "launch.cuh"

namespace sparse_engine::cuda {
namespace {

template <class Program>
__global__ void __launch_bounds__(kThreads, Program::kBlocks)
    run_phases(const Program program, int64_t first, int64_t last) {
  bool started = false;
  for (int64_t phase = first; phase < last; ++phase) {
    if (!program.needed(phase)) continue;
    if (started) cooperative_groups::this_grid().sync();
    started = true;
    program(phase);
  }
}

// One launch per phase, each with `threads` threads.
template <class Program>
void launch_each(const Program& program, int64_t phases, int64_t threads, const Stream& stream) {
  for (int64_t phase = 0; phase < phases; ++phase)
    launch(run_phases<Program>, threads, stream, program, phase, phase + 1);
}

// All phases, at most `threads` threads of work in each.
template <class Program>
void run(const Program& program, int64_t phases, int64_t threads, const Stream& stream) {
  if (!attribute(cudaDevAttrCooperativeLaunch))
    return launch_each(program, phases, threads, stream);
  int per_processor = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_processor, run_phases<Program>, kThreads,
                                                      0));
  const int64_t fitting =
      static_cast<int64_t>(per_processor) * attribute(cudaDevAttrMultiProcessorCount);
  cudaLaunchAttribute cooperative = {};
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = static_cast<unsigned>(std::min(divide_up(threads, kThreads), fitting));
  config.blockDim = kThreads;
  config.stream = handle(stream);
  config.attrs = &cooperative;
  config.numAttrs = 1;
  check(cudaLaunchKernelEx(&config, run_phases<Program>, program, int64_t{0}, phases));
}

}  // namespace
}  // namespace sparse_engine::cuda
