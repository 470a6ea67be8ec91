// A program is a sequence of phases; all threads of a grid finish one before any begins the next.
//
// One cooperative kernel runs them all where the device allows it: a block on each multiprocessor,
// and the grid waits for itself between phases. That costs about as much device time as the gap
// between two launches, but no time of the host, and unlike a captured graph it needs no
// preparation for each new shape. Elsewhere, every phase is a launch.
//
// A program is a class, passed to the kernel by value, of
//   kBlocks: how many times kThreads threads a block has, which limits the registers of a thread;
//   needed(phase): whether the phase has work; the same for all threads, and what it reads was
//     written before the program started;
//   operator()(phase).
// It has no shared memory but what its launch asks for.
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
cudaLaunchConfig_t blocks_of(int64_t shared, const Stream& stream) {
  return on_all(run_phases<Program>, kThreads * Program::kBlocks, shared, stream);
}

// One launch per phase.
template <class Program>
void launch_each(const Program& program, int64_t phases, int64_t shared, const Stream& stream) {
  const cudaLaunchConfig_t config = blocks_of<Program>(shared, stream);
  for (int64_t phase = 0; phase < phases; ++phase)
    check(cudaLaunchKernelEx(&config, run_phases<Program>, program, phase, phase + 1));
}

// All phases in one launch, where that is possible; with so many bytes of shared memory.
template <class Program>
void run(const Program& program, int64_t phases, int64_t shared, const Stream& stream) {
  if (phases == 1 || !attribute(cudaDevAttrCooperativeLaunch))
    return launch_each(program, phases, shared, stream);
  cudaLaunchConfig_t config = blocks_of<Program>(shared, stream);
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
  launch_each(program, phases, shared, stream);
}

}  // namespace
}  // namespace sparse_engine::cuda
