// The gradient of a recurrent layer's dense input weights, summed inside the time loop while dz is
// in cache, so that dz itself need not be stored.
#pragma once

#include <algorithm>

#include "runtime/kept.h"
#include "runtime/links.h"
#include "runtime/memory.h"
#include "runtime/team.h"

namespace sparse_engine {
namespace {

// The gradient is summed in rows of this many entries, whole vectors.
template <typename T>
inline int64_t padded_inputs(int64_t inputs) {
  return (inputs + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// sums[r, k] += sum_n dz[r * W + n] x[n, k] for R rows and KV vectors of inputs.
template <typename T, int R, int KV>
SE_INLINE void add_outer_block(const T* dz, int W, int columns, const T* x, int64_t stride,
                               T* sums) {
  constexpr int L = kLanes<T>;
  Vec<T, L> sum[R][KV];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < KV; ++v) sum[r][v] = load<T, L>(sums + r * stride + v * L);
  for (int n = 0; n < columns; ++n) {
    Vec<T, L> row[KV];
    for (int v = 0; v < KV; ++v) row[v] = load<T, L>(x + n * stride + v * L);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < KV; ++v) sum[r][v] += dz[r * W + n] * row[v];
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < KV; ++v) store<T, L>(sums + r * stride + v * L, sum[r][v]);
}

// The same for all inputs: x [columns, stride] and sums [R, stride], both padded with zeros.
template <typename T, int R>
SE_INLINE void add_outer_rows(const T* dz, int W, int columns, const T* x, int64_t stride,
                              T* sums) {
  constexpr int L = kLanes<T>, kTogether = kVectorBytes == 64 ? 4 : 2;
  int64_t k = 0;
  for (; k + kTogether * L <= stride; k += kTogether * L)
    add_outer_block<T, R, kTogether>(dz, W, columns, x + k, stride, sums + k);
  for (; k < stride; k += L) add_outer_block<T, R, 1>(dz, W, columns, x + k, stride, sums + k);
}

// The same for any number of rows.
template <typename T>
SE_NOINLINE void add_outer(const T* dz, int W, int rows, int columns, const T* x, int64_t stride,
                           T* sums) {
  constexpr int R = 4;
  int r = 0;
  for (; r + R <= rows; r += R)
    add_outer_rows<T, R>(dz + r * W, W, columns, x, stride, sums + r * stride);
  for (; r < rows; ++r) add_outer_rows<T, 1>(dz + r * W, W, columns, x, stride, sums + r * stride);
}

// The operands of dw = sum_t dz_t x_t^T.
template <typename T, typename A = T>
struct DenseInput {
  const A* x;  // [rows of all steps, inputs]
  T* dw;       // [units, inputs], written
  int64_t units;
  int64_t inputs;  // 0 where the gradient is not wanted
  int64_t batch;   // the most rows of a step
  int threads;     // the most members that a team can have
  int parts = 1;   // of the columns, with sums of their own
};

template <typename T, typename A = T>
class InputGradient {
 public:
  static size_t bytes(const DenseInput<T, A>& input) {
    const int64_t stride = padded_inputs<T>(input.inputs);
    return Scratch::bytes_of<T>(input.parts * input.units * stride) +
           Scratch::bytes_of<T>(input.threads * input.batch * stride);
  }

  InputGradient(const DenseInput<T, A>& input, Scratch& scratch)
      : in_(input),
        stride_(padded_inputs<T>(input.inputs)),
        sums_(scratch.take<T>(input.parts * input.units * stride_)),
        copies_(scratch.take<T>(input.threads * input.batch * stride_)) {}

  void clear(const Rows& rows) const {
    for (int part = 0; part < in_.parts; ++part)
      std::fill(sums_of(part, rows.first), sums_of(part, rows.last), T(0));
  }

  // A member's own copy of x_t, [batch, padded inputs], which begins at row `first` of x: its rows
  // from `begin` to `end`.
  const T* step(int member, int64_t first, int64_t begin, int64_t end) const {
    T* own = copies_ + member * in_.batch * stride_;
    if (in_.inputs == 0) return own;
    for (int64_t n = begin; n < end; ++n) {
      const A* from = in_.x + (first + n) * in_.inputs;
      for (int64_t k = 0; k < in_.inputs; ++k) own[n * stride_ + k] = load<T, 1>(from + k);
      std::fill(own + n * stride_ + in_.inputs, own + (n + 1) * stride_, T(0));
    }
    return own;
  }

  // Adds what `count` rows of dz_t from unit `first` on contribute: a tile of a panel of that width
  // whose columns are those of x_t from `column` on, and belong to a part.
  void add(const T* dz, int width, int64_t first, int count, int columns, const T* x,
           int64_t column, int part = 0) const {
    if (in_.inputs == 0) return;
    add_outer(dz, width, count, columns, x + column * stride_, stride_, sums_of(part, first));
  }

  void finish(const Rows& rows) const {
    if (in_.inputs == 0) return;
    for (int64_t row = rows.first; row < rows.last; ++row)
      for (int64_t k = 0; k < in_.inputs; ++k) {
        T sum = sums_of(0, row)[k];
        for (int part = 1; part < in_.parts; ++part) sum += sums_of(part, row)[k];
        in_.dw[row * in_.inputs + k] = sum;
      }
  }

 private:
  T* sums_of(int part, int64_t row) const { return sums_ + (part * in_.units + row) * stride_; }

  const DenseInput<T, A> in_;
  const int64_t stride_;
  T* const sums_;
  T* const copies_;
};

}  // namespace
}  // namespace sparse_engine
