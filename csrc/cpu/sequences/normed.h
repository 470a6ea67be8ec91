// What the time loops of the cells with layer normalisation, normed_forward.h and
// normed_backward.h, have in common.
//
// A cell is a class of
//   kGates: of a unit;
//   kHasMemory: whether it has a c, which is normalised where h is made of it;
// and without a c
//   forward(z): h, from the normalised contribution;
//   backward(h, dh): the gradient of z;
// or with one
//   forward(z, c): takes c over to this step, and returns the output gate;
//   output(o, y): h, from the output gate and the normalised c;
//   kOutputGate: which one it is;
//   output_backward(z, y, dh, dz): the gradient of y, and in dz that of z, the output gate's;
//   backward(z, c, before, dc, dz): the gradients of the other gates' z, and what reaches that of
//     the c `before`.
#pragma once

#include <type_traits>

#include "sequences/gated.h"
#include "sequences/normalisation.h"

namespace sparse_engine {
namespace {

// What one step saves, a row for each number of each unit: [rows, batch]. `Number` is const where
// it is only read.
template <class Number, int L>
struct Record {
  using T = std::remove_const_t<Number>;

  Number* data;
  int64_t batch;

  // The columns of a row from n on; those that are not running are zero.
  SE_INLINE Vec<T, L> read(int64_t row, int64_t n) const {
    return load_first<T, L>(data + row * batch + n, batch - n);
  }
  SE_INLINE void write(int64_t row, int64_t n, Vec<T, L> v) const {
    store_first<T, L>(data + row * batch + n, v, batch - n);
  }
};

// That of step t, in an array of all steps.
template <int L, class Number, typename T, int W>
inline Record<Number, L> record_of(const Sequence<T, W>& seq, Number* array, int64_t rows,
                                   int64_t t) {
  return {array + seq.row(t) * rows, seq.running(t)};
}

// Numbers of a unit to save, n of each gate and then c; and of a column.
template <class Cell>
constexpr int kSaved = Cell::kGates + (Cell::kHasMemory ? 1 : 0);
template <class Cell>
constexpr int kMoments = Cell::kHasMemory ? 3 : 1;

}  // namespace
}  // namespace sparse_engine
