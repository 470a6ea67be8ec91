#include "cells/rhn.h"
#include "runtime/activation.cuh"
#include "runtime/each.cuh"
#include "runtime/phases.cuh"
#include "sequences/layer.cuh"
#include "sparse_engine/cuda.h"
#include "sparse_engine/rhn.h"

namespace sparse_engine::cuda {
namespace {

// The levels' products, which may be too many for the arguments of a kernel, on the device.
template <typename T>
struct Levels {
  const Product<T>* products;  // [depth]
  int64_t depth;
  int64_t shared;  // bytes for any of them

  __device__ bool has_second_phase(int64_t l) const { return products[l].has_second_phase(); }
};

template <typename T>
__global__ void __launch_bounds__(kThreads) place(const T value, T* to) {
  if (thread_in_grid() == 0) *to = value;
}

// product(l) for each level.
template <typename T, class Body>
Levels<T> levels_of(int64_t depth, const Stream& stream, const Body& product) {
  Product<T>* products = take<Product<T>>(stream, depth);
  int64_t shared = 0;
  for (int64_t l = 0; l < depth; ++l) {
    const Product<T> of_level = product(l);
    launch(place<Product<T>>, 1, stream, of_level, products + l);
    shared = std::max(shared, of_level.shared());
  }
  return {products, depth, shared};
}

// What the weights look at.
template <typename T>
struct Masked {
  const T *mask, *state;  // no mask is one of ones
  T* masked;

  __device__ void operator()(int64_t i) const { masked[i] = mask ? mask[i] * state[i] : state[i]; }
};

// Steps of one level lie behind each other: step t of level l at l * steps + t.
template <typename T, int V, class Cell>
struct ForwardLevels {
  static constexpr int kBlocks = 2, R = Cell::kBlocks;

  Levels<T> levels;
  int64_t steps, fed;
  Steps<T> x;       // [fed * steps][R * units]
  const T* bias;    // [depth][R * units], or null for zeros
  Steps<T> mask;    // [1][units]; its data is null for ones
  Steps<T> state;   // [1][units]
  Steps<T> masked;  // [2][units], before this level and the next, in turn
  Steps<T> saved;   // [depth * steps][(R + 1) * units]; its data is null if not wanted
  Steps<T> y;       // [steps][units]
  Resets resets;

  __device__ bool needed(int64_t phase) const {
    return phase % 2 == 0 || levels.has_second_phase(phase / 2 % levels.depth);
  }

  __device__ void operator()(int64_t phase) const {
    const int64_t k = phase / 2, t = k / levels.depth, l = k % levels.depth;
    const Product<T> product = levels.products[l];
    const int64_t units = product.units, at_step = l * steps + t;
    const auto step = [&](int64_t unit, Column n, T(&u)[R]) {
      T kept[R + 1];
#pragma unroll
      for (int r = 0; r < R; ++r) {
        if (l < fed) u[r] += x(at_step, r * units + unit, n);
        if (bias) u[r] += bias[(l * R + r) * units + unit];
      }
      const T before = state(0, unit, n);
      T after = Cell::template forward<ScalarMath<T>>(u, before, kept);
      T seen = mask.data ? mask(0, unit, n) * after : after;
      if (l + 1 == levels.depth) {
        y(t, unit, n) = after;
        resets.set_back(t + 1, n, after);
        resets.set_back(t + 1, n, seen);
      }
      state(0, unit, n) = after;
      masked((k + 1) % 2, unit, n) = seen;
      if (saved.data == nullptr) return;
#pragma unroll
      for (int r = 0; r < R; ++r) saved(at_step, r * units + unit, n) = kept[r];
      saved(at_step, R * units + unit, n) = before;
    };
    product.template phase<V, R>(phase % 2, masked.at(k % 2), product.extent(true), step);
  }
};

// From the last level of the last step to the first of the first, and two more phases that lead to
// the state before them.
template <typename T, int V, class Cell>
struct BackwardLevels {
  static constexpr int kBlocks = 2, R = Cell::kBlocks;

  Levels<T> levels;  // with R^T
  int64_t steps;
  Steps<T> saved;    // [depth * steps][(R + 1) * units]; h, t (, c) become du, the state before the
                     // level what its weight looked at
  Steps<T> dy;       // [steps][units]
  Steps<T> mask;     // [1][units]; its data is null for ones
  Steps<T> carried;  // [1][units]
  Resets resets;

  __device__ int64_t level_at(int64_t phase) const { return levels.depth * steps - 1 - phase / 2; }
  // The gradient comes from the level behind.
  __device__ int64_t from(int64_t phase) const { return (level_at(phase) + 1) % levels.depth; }
  __device__ int64_t row_of(int64_t k) const { return k % levels.depth * steps + k / levels.depth; }

  __device__ bool needed(int64_t phase) const {
    return phase % 2 == 0 || levels.has_second_phase(from(phase));
  }

  __device__ void operator()(int64_t phase) const {
    const int64_t k = level_at(phase);
    const bool is_last = k + 1 == levels.depth * steps, is_output = (k + 1) % levels.depth == 0;
    const Product<T> product = levels.products[from(phase)];
    const int64_t units = product.units, own = row_of(k);
    const auto step = [&](int64_t unit, Column n, T(&sum)[1]) {
      T ds = sum[0], past = carried(0, unit, n);
      if (is_output) {
        const int64_t t = (k + 1) / levels.depth;
        resets.set_back(t, n, ds);
        resets.set_back(t, n, past);
      }
      const T factor = mask.data ? mask(0, unit, n) : T(1);
      ds = factor * ds + past;
      if (is_output && k >= 0) ds += dy(k / levels.depth, unit, n);
      T& carry = carried(0, unit, n);
      if (k < 0) {
        carry = ds;
        return;
      }
      T kept[R + 1], of_u[R];
#pragma unroll
      for (int r = 0; r <= R; ++r) kept[r] = saved(own, r * units + unit, n);
      carry = Cell::template backward<ScalarMath<T>>(kept, ds, of_u);
#pragma unroll
      for (int r = 0; r < R; ++r) saved(own, r * units + unit, n) = of_u[r];
      saved(own, R * units + unit, n) = factor * kept[R];
    };
    product.template phase<V, 1>(phase % 2, is_last ? dy.at(0) : saved.at(row_of(k + 1)),
                                 product.extent(!is_last), step);
  }
};

// Between level l of a user's array [steps, levels, batch, rows * hidden] and the panels of all.
template <typename T>
Transfer<T> of_level(const Layer<T>& layer, const Steps<T>& panels, const T* array, int64_t rows,
                     int64_t levels, int64_t l) {
  const T* first = array + l * layer.shape.columns * rows * layer.hidden;
  Transfer<T> one = layer.all(panels.from(l * layer.steps), first, rows, layer.steps);
  one.step_stride *= levels;
  return one;
}

// A [batch, hidden] array, or nothing.
template <typename T>
Steps<T> read_mask(const Layer<T>& layer, const T* mask) {
  if (mask == nullptr) return {};
  const Steps<T> panels = layer.take(1, 1);
  layer.set_first(panels, mask);
  return panels;
}

template <class Cell, typename T>
void forward(const RhnForward<T>& a, const Layer<T>& layer) {
  constexpr int R = Cell::kBlocks;
  const Stream& stream = layer.stream;
  const Levels<T> levels = levels_of<T>(a.depth, stream, [&](int64_t l) {
    return layer.multiply(a.levels[l].w, a.levels[l].values, layer.hidden);
  });
  const Steps<T> x = layer.take(a.fed * a.steps, R), mask = read_mask(layer, a.mask);
  const Steps<T> state = layer.take(1, 1), masked = layer.take(2, 1), y = layer.take(a.steps, 1);
  const Steps<T> saved = a.saved ? layer.take(a.depth * a.steps, R + 1) : Steps<T>{};
  for (int64_t l = 0; l < a.fed; ++l) pack(of_level(layer, x, a.x, R, a.fed, l), stream);
  const Resets resets = layer.resets(a.resets);
  layer.set_first(state, a.s0);
  set_back(state, resets, 1, stream);
  run_each(Masked<T>{mask.data, state.data, masked.data}, state.step_stride(), stream);
  with_vector<T>(layer.shape, [&](auto vector) {
    const ForwardLevels<T, vector, Cell> program{levels, a.steps, a.fed, x, a.bias, mask,
                                                 state,  masked,  saved, y, resets};
    run(program, 2 * a.depth * a.steps, levels.shared, stream);
  });
  unpack(layer.all(y, a.y, 1, a.steps), stream);
  for (int64_t l = 0; l < a.depth && a.saved; ++l)
    unpack(of_level(layer, saved, a.saved, R + 1, a.depth, l), stream);
}

template <class Cell, typename T>
void backward(const RhnBackward<T>& a, const Layer<T>& layer) {
  constexpr int R = Cell::kBlocks;
  const Stream& stream = layer.stream;
  const int64_t hidden = layer.hidden;
  const Levels<T> levels = levels_of<T>(a.depth, stream, [&](int64_t l) {
    const RhnLevel<T>& level = a.levels[l];
    const T* values = in_order(level.values, level.permutation, level.w.nnz(), stream);
    return layer.multiply(level.wt, values, hidden);
  });
  const Steps<T> saved = layer.take(a.depth * a.steps, R + 1), dy = layer.take(a.steps, 1);
  const Steps<T> mask = read_mask(layer, a.mask), carried = layer.take(1, 1);
  for (int64_t l = 0; l < a.depth; ++l)
    pack(of_level(layer, saved, a.saved, R + 1, a.depth, l), stream);
  pack(layer.all(dy, a.dy, 1, a.steps), stream);
  layer.set_first(carried, nullptr);
  with_vector<T>(layer.shape, [&](auto vector) {
    const BackwardLevels<T, vector, Cell> program{
        levels, a.steps, saved, dy, mask, carried, layer.resets(a.resets)};
    run(program, 2 * (a.depth * a.steps + (a.ds0 ? 1 : 0)), levels.shared, stream);
  });
  if (a.ds0) unpack(layer.all(carried, a.ds0, 1, 1), stream);
  for (int64_t l = 0; l < a.fed && a.dx; ++l)
    unpack(of_level(layer, saved, a.dx, R, a.fed, l), stream);
  T* dvalues = a.dvalues;
  for (int64_t l = 0; l < a.depth; ++l) {
    const Steps<T> own = saved.from(l * a.steps);
    layer.sum_columns(own, a.steps, R * hidden, a.dbias + l * R * hidden);
    if (a.dvalues == nullptr) continue;
    const Csr& w = a.levels[l].w;
    layer.multiply_links(w, own, own.from_row(R * hidden), 0, dvalues);
    dvalues += w.nnz();
  }
}

// body(cell, layer)
template <typename T, class Args, class Body>
void with_cell(const Args& a, const Stream& stream, const Body& body) {
  const Csr& w = a.levels[0].w;
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, w.cols};
  if (w.rows == 2 * w.cols)
    body(Highway<true>(), layer);
  else
    body(Highway<false>(), layer);
}

}  // namespace

template <typename T>
void rhn_forward(const RhnForward<T>& a, const Stream& stream) {
  with_cell<T>(a, stream,
               [&](auto cell, const Layer<T>& layer) { forward<decltype(cell)>(a, layer); });
}

template <typename T>
void rhn_backward(const RhnBackward<T>& a, const Stream& stream) {
  with_cell<T>(a, stream,
               [&](auto cell, const Layer<T>& layer) { backward<decltype(cell)>(a, layer); });
}

template void rhn_forward(const RhnForward<float>&, const Stream&);
template void rhn_forward(const RhnForward<double>&, const Stream&);
template void rhn_backward(const RhnBackward<float>&, const Stream&);
template void rhn_backward(const RhnBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
