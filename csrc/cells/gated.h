// The functions that a cell with gates provides to the time loops: gated_forward.h and
// gated_backward.h in csrc/cpu/sequences, recurrent.cuh in csrc/cuda/sequences. A unit's gates are
// rows of one weight W. With v the contribution of the input to each gate and u that of the
// recurrent weight, a cell is a class template, over the type Real of one number, of
//   kGates, kSaved: the gates of a unit, and the numbers that it saves for the backward pass;
//   kShared: the first so many gates depend on v + u alone, so that both have the same gradient;
//   kMemory: the position among the saved numbers of a c that is carried from step to step (the
//     last one), or -1 for a cell that carries nothing but h;
//   forward(v, u, carried, saved): returns h and fills `saved`. `carried` is c, which becomes c of
//     this step; without a c, it is the h before the step;
//   backward(saved, dh, before, carried, du, dv): fills the gradients of u, and of v for the gates
//     that are not shared, from the gradient of h. `before` is c (without one, h) before the step.
//     `carried` is the gradient of c, or of h, that does not pass through the weight: that of this
//     step comes in, that of the step before goes out;
//   is_sigmoid(s): whether saved number s is a sigmoid;
// and, where it carries a c,
//   clip: its only member, the largest absolute c;
//   output(o, c): the h that forward returned, from the saved numbers before c and c;
//   mark_clipped(saved): changes what is saved, before it is rounded to bfloat16, such that
//     backward knows where c was clipped.
#pragma once

#include "cell.h"

namespace sparse_engine {
namespace {

// A cell, whose c is kept in [-clip, clip] if it carries one.
template <class Cell, class Real>
Cell cell_with([[maybe_unused]] Real clip) {
  if constexpr (Cell::kMemory >= 0)
    return {clip};
  else
    return {};
}

}  // namespace
}  // namespace sparse_engine
