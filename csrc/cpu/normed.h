// What the time loops of the cells with layer normalisation, normed_forward.h and
// normed_backward.h, have in common.
//
// A cell is a class of
//   kGates: of a unit;
//   kHasMemory: whether it has a c, which is normalised where h is made of it;
// and without a c
//   forward(z): h, from the normalised contributions;
//   backward(h, dh): the gradient of z;
// or with one
//   forward(z, c): takes c over to this step, and returns the output gate;
//   output(o, y): h, from the output gate and the normalised c;
//   kOutputGate: which one it is;
//   output_backward(z, y, dh, dz): the gradient of y, and in dz that of z, the output gate's;
//   backward(z, c, before, dc, dz): the gradients of the other gates' z, and what reaches that of
//     the c `before`.
#pragma once

#include "gated.h"
#include "normalisation.h"

namespace sparse_engine {
namespace {

// Numbers of a unit to save, n of each gate and then c; and of a column.
template <class Cell>
constexpr int kSaved = Cell::kGates + (Cell::kHasMemory ? 1 : 0);
template <class Cell>
constexpr int kMoments = Cell::kHasMemory ? 3 : 1;

}  // namespace
}  // namespace sparse_engine
