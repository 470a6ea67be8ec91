// What the time loops of the cells with layer normalisation, normed_forward.h and
// normed_backward.h, have in common. A normalisation needs two sums over all features of a column,
// in both directions: every step waits for them behind a barrier.
//
// A cell is a class of
//   kGates, kSaved: gates, and numbers to save, of a unit: the gates' normalised sums come first;
//   kHasMemory: whether it has a c, which is normalised where h is made of it;
// and without a c
//   forward(z): h, from the normalised contributions;
//   backward(h, dh): the gradient of z;
// or with one
//   forward(z, c, saved): takes c over to this step, fills `saved` behind the normalised sums, and
//     returns the output gate;
//   output(o, y): h, from the output gate and the normalised c;
//   kOutputGate: which one it is;
//   output_backward(o, y, dh, dz): the gradient of y, and in dz that of the output gate's z;
//   backward(saved, before, dc, dz): the gradients of the other gates' z, and what reaches that of
//     the c `before`.
#pragma once

#include "gated.h"
#include "sparse_engine/normed.h"

namespace sparse_engine {
namespace {

template <typename T>
SE_INLINE T gain_of(const Norm<T>& norm, int64_t feature) {
  return norm.gain ? norm.gain[feature] : T(1);
}

// A feature's part of what a normalisation returns, from its normalised number.
template <typename T, int L>
SE_INLINE Vec<T, L> scaled(const Norm<T>& norm, int64_t feature, Vec<T, L> n) {
  return n * gain_of(norm, feature) + (norm.bias ? norm.bias[feature] : T(0));
}

// Two sums over the features of each column. A block of kBlock units of one gate is summed by the
// team member that owns it; behind a barrier, every member adds up all blocks for itself, in one
// order. Shares of units are whole multiples of kBlock.
template <typename T, int L, int NV>
class BlockSums {
  static constexpr int W = L * NV;

 public:
  BlockSums(Scratch& scratch, int64_t gates, int64_t units, int64_t panels)
      : gates_(gates),
        units_(units),
        sums_(Ring<T, W>(scratch, 1, 2 * gates * blocks(units), panels).at(0)) {}

  static size_t bytes(int64_t gates, int64_t units, int64_t panels) {
    return Ring<T, W>::bytes(1, 2 * gates * blocks(units), panels);
  }

  // Units [first, first + count) of a gate, rows of x: each block's mean, and the sum of the
  // squared deviations from it, which nothing cancels.
  void describe(int64_t q, int64_t gate, int64_t first, int count, const T* x) const {
    for (int r = 0; r < count; r += kBlock) {
      const int rows = std::min(kBlock, count - r);
      Vec<T, L> mean[NV] = {}, squares[NV] = {};
      for (int i = r; i < r + rows; ++i)
        for (int v = 0; v < NV; ++v) mean[v] += load<T, L>(x + i * W + v * L);
      for (int v = 0; v < NV; ++v) mean[v] /= T(rows);
      for (int i = r; i < r + rows; ++i)
        for (int v = 0; v < NV; ++v) {
          const Vec<T, L> off = load<T, L>(x + i * W + v * L) - mean[v];
          squares[v] += off * off;
        }
      T* to = block(q, gate, first + r);
      for (int v = 0; v < NV; ++v) {
        store<T, L>(to + v * L, mean[v]);
        store<T, L>(to + W + v * L, squares[v]);
      }
    }
  }

  // From the blocks that describe() has left: the mean of all features at to[0 .. W), and behind it
  // 1 / sqrt(variance + eps).
  void moments(int64_t q, T eps, T* to) const {
    const T features = T(gates_ * units_);
    for (int v = 0; v < NV; ++v) {
      Vec<T, L> mean = {}, squares = {};
      each_block(q, [&](const T* sums, T rows) { mean += load<T, L>(sums + v * L) * rows; });
      mean /= features;
      each_block(q, [&](const T* sums, T rows) {
        const Vec<T, L> off = load<T, L>(sums + v * L) - mean;
        squares += load<T, L>(sums + W + v * L) + off * off * rows;
      });
      store<T, L>(to + v * L, mean);
      store<T, L>(to + W + v * L, squares / features + eps);
    }
    for (int n = W; n < 2 * W; ++n) to[n] = T(1) / static_cast<T>(__builtin_sqrt(to[n]));
  }

  // A unit's summands, in the columns of vector v. Units come in order: the first of a block clears
  // its sums.
  SE_INLINE void add(int64_t q, int64_t gate, int64_t unit, int v, Vec<T, L> one,
                     Vec<T, L> other) const {
    T* to = block(q, gate, unit) + v * L;
    const bool begins = unit % kBlock == 0;
    store<T, L>(to, begins ? one : load<T, L>(to) + one);
    store<T, L>(to + W, begins ? other : load<T, L>(to + W) + other);
  }

  // From the blocks that add() has left: the means over all features, at to[0 .. 2 W).
  void means(int64_t q, T* to) const {
    const T features = T(gates_ * units_);
    for (int n = 0; n < 2 * W; n += L) {
      Vec<T, L> sum = {};
      each_block(q, [&](const T* sums, T) { sum += load<T, L>(sums + n); });
      store<T, L>(to + n, sum / features);
    }
  }

 private:
  static int64_t blocks(int64_t units) { return (units + kBlock - 1) / kBlock; }

  T* block(int64_t q, int64_t gate, int64_t unit) const {
    return sums_.row(q, 2 * (gate * blocks(units_) + unit / kBlock));
  }

  // body(its sums, number of rows) for each block, in order.
  template <class Body>
  SE_INLINE void each_block(int64_t q, const Body& body) const {
    for (int64_t gate = 0; gate < gates_; ++gate)
      for (int64_t unit = 0; unit < units_; unit += kBlock)
        body(block(q, gate, unit), T(std::min<int64_t>(kBlock, units_ - unit)));
  }

  int64_t gates_, units_;
  State<T, W> sums_;
};

// What a member of the team knows of all columns at one step: of u and, behind it, of c.
constexpr int kOfU = 0, kOfC = 2, kKnown = 4;

// Numbers of a column to save.
template <class Cell>
constexpr int kMoments = Cell::kHasMemory ? 3 : 1;

}  // namespace
}  // namespace sparse_engine
