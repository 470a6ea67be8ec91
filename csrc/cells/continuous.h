// The functions that a cell in continuous time provides to the time loops: continuous.h and
// unfolds.h in csrc/cpu/sequences, continuous.cuh and unfolds.cuh in csrc/cuda/sequences. The state
// s of a unit follows ds/dt = k, and leaks at a rate of 1 / tau: dk/ds = -rate. With z what input
// and weight make of what products read of all states, z = x + W read(s), a cell is a class of
//   kReadsState: whether products read the state itself, so that read(s) = s;
//   read(s): what products read of the state;
//   drive(z): what moves the state, and is kept for the backward pass of a stage;
//   derivative(drive, rate, s): k;
// and of their derivatives
//   backward(drive, rate, dk): the gradient of z, from that of k;
//   of_rate(drive, s): the derivative of k by the rate;
//   read_backward(dread, read, s): the gradient of s, from that of read(s).
#pragma once

#include "cell.h"
#include "sparse_engine/activation.h"

namespace sparse_engine {
namespace {

// A cell, with this activation if it has a choice.
template <class Cell>
Cell cell_with([[maybe_unused]] Activation activation) {
  if constexpr (Cell::kActivations > 1)
    return {activation};
  else
    return {};
}

}  // namespace
}  // namespace sparse_engine
