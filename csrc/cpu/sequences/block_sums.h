// Sums over all features of a column, with the same bits for any number of threads.
#pragma once

#include "sequences/sequence.h"

namespace sparse_engine {
namespace {

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

  int64_t units() const { return units_; }

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
      store_row<T, L>(to, mean);
      store_row<T, L>(to + W, squares);
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

  // The same units' summands: add(r, one, other) adds those of unit first + r to both sums.
  template <class Add>
  SE_INLINE void sum(int64_t q, int64_t gate, int64_t first, int count, const Add& add) const {
    for (int r = 0; r < count; r += kBlock) {
      Vec<T, L> one[NV] = {}, other[NV] = {};
      for (int i = r; i < std::min(r + kBlock, count); ++i) add(i, one, other);
      T* to = block(q, gate, first + r);
      store_row<T, L>(to, one);
      store_row<T, L>(to + W, other);
    }
  }

  // From the blocks that sum() has left: the means over all features, at to[0 .. 2 W).
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

}  // namespace
}  // namespace sparse_engine
