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
    const auto step = [&](int64_t unit, int64_t panel, int column, Vec<T, V>(&u)[R]) {
      const auto at = [&](const Panels<T>& panels, int r = 0) {
        return panels.row(panel, r * units + unit) + column;
      };
      const Vec<T, V> before = load<V>(at(state.at(0)));
      Vec<T, V> after, seen;
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const Vec<T, V> given = l < fed ? load<V>(at(x.at(at_step), r)) : Vec<T, V>{};
        const T offset = bias ? bias[(l * R + r) * units + unit] : T(0);
#pragma unroll
        for (int v = 0; v < V; ++v) u[r].at[v] += given.at[v] + offset;
      }
      const Vec<T, V> factor = mask.data ? load<V>(at(mask.at(0))) : Vec<T, V>{};
#pragma unroll
      for (int v = 0; v < V; ++v) {
        T of_u[R], kept[R + 1];
#pragma unroll
        for (int r = 0; r < R; ++r) of_u[r] = u[r].at[v];
        after.at[v] = Cell::template forward<ScalarMath<T>>(of_u, before.at[v], kept);
        seen.at[v] = mask.data ? factor.at[v] * after.at[v] : after.at[v];
#pragma unroll
        for (int r = 0; r < R; ++r) u[r].at[v] = kept[r];
      }
      if (l + 1 == levels.depth) {
        store<V>(at(y.at(t)), after);
        resets.set_back(t + 1, panel * y.width + column, after);
        resets.set_back(t + 1, panel * y.width + column, seen);
      }
      store<V>(at(state.at(0)), after);
      store<V>(at(masked.at((k + 1) % 2)), seen);
      if (saved.data == nullptr) return;
#pragma unroll
      for (int r = 0; r < R; ++r) store<V>(at(saved.at(at_step), r), u[r]);
      store<V>(at(saved.at(at_step), R), before);
    };
    product.template phase<V, R>(phase % 2, masked.at(k % 2), true, step);
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
  __device__ Panels<T> du(int64_t k) const {
    return saved.at(k % levels.depth * steps + k / levels.depth);
  }

  __device__ bool needed(int64_t phase) const {
    return phase % 2 == 0 || levels.has_second_phase(from(phase));
  }

  __device__ void operator()(int64_t phase) const {
    const int64_t k = level_at(phase);
    const bool is_last = k + 1 == levels.depth * steps, is_output = (k + 1) % levels.depth == 0;
    const Product<T> product = levels.products[from(phase)];
    const auto step = [&](int64_t unit, int64_t panel, int column, Vec<T, V>(&ds)[1]) {
      const auto at = [&](const Panels<T>& panels, int r = 0) {
        return panels.row(panel, r * product.units + unit) + column;
      };
      const Vec<T, V> factor = mask.data ? load<V>(at(mask.at(0))) : Vec<T, V>{};
      const bool adds = is_output && k >= 0;
      const Vec<T, V> upstream = adds ? load<V>(at(dy.at(k / levels.depth))) : Vec<T, V>{};
      Vec<T, V> past = load<V>(at(carried.at(0)));
      if (is_output) {
        const int64_t t = (k + 1) / levels.depth, n = panel * dy.width + column;
        resets.set_back(t, n, ds[0]);
        resets.set_back(t, n, past);
      }
#pragma unroll
      for (int v = 0; v < V; ++v) {
        if (mask.data) ds[0].at[v] *= factor.at[v];
        ds[0].at[v] += past.at[v] + upstream.at[v];
      }
      if (k < 0) return store<V>(at(carried.at(0)), ds[0]);

      const Panels<T> own = du(k);
      Vec<T, V> rows[R], before = load<V>(at(own, R));
#pragma unroll
      for (int r = 0; r < R; ++r) rows[r] = load<V>(at(own, r));
#pragma unroll
      for (int v = 0; v < V; ++v) {
        T kept[R + 1], of_u[R];
#pragma unroll
        for (int r = 0; r < R; ++r) kept[r] = rows[r].at[v];
        kept[R] = before.at[v];
        past.at[v] = Cell::template backward<ScalarMath<T>>(kept, ds[0].at[v], of_u);
        if (mask.data) before.at[v] *= factor.at[v];
#pragma unroll
        for (int r = 0; r < R; ++r) rows[r].at[v] = of_u[r];
      }
#pragma unroll
      for (int r = 0; r < R; ++r) store<V>(at(own, r), rows[r]);
      store<V>(at(own, R), before);
      store<V>(at(carried.at(0)), past);
    };
    product.template phase<V, 1>(phase % 2, is_last ? dy.at(0) : du(k + 1), !is_last, step);
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
    return product_of(a.levels[l].w, a.levels[l].values, layer.hidden, layer.shape, stream);
  });
  const Steps<T> x = layer.take(a.fed * a.steps, R), mask = read_mask(layer, a.mask);
  const Steps<T> state = layer.take(1, 1), masked = layer.take(2, 1), y = layer.take(a.steps, 1);
  const Steps<T> saved = a.saved ? layer.take(a.depth * a.steps, R + 1) : Steps<T>{};
  for (int64_t l = 0; l < a.fed; ++l) pack(of_level(layer, x, a.x, R, a.fed, l), stream);
  const Resets resets{a.resets, a.steps, a.batch};
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
    return product_of(level.wt, values, hidden, layer.shape, stream);
  });
  const Steps<T> saved = layer.take(a.depth * a.steps, R + 1), dy = layer.take(a.steps, 1);
  const Steps<T> mask = read_mask(layer, a.mask), carried = layer.take(1, 1);
  for (int64_t l = 0; l < a.depth; ++l)
    pack(of_level(layer, saved, a.saved, R + 1, a.depth, l), stream);
  pack(layer.all(dy, a.dy, 1, a.steps), stream);
  layer.set_first(carried, nullptr);
  with_vector<T>(layer.shape, [&](auto vector) {
    const BackwardLevels<T, vector, Cell> program{
        levels, a.steps, saved, dy, mask, carried, {a.resets, a.steps, a.batch}};
    run(program, 2 * (a.depth * a.steps + (a.ds0 ? 1 : 0)), levels.shared, stream);
  });
  if (a.ds0) unpack(layer.all(carried, a.ds0, 1, 1), stream);
  for (int64_t l = 0; l < a.fed && a.dx; ++l)
    unpack(of_level(layer, saved, a.dx, R, a.fed, l), stream);
  T* dvalues = a.dvalues;
  for (int64_t l = 0; l < a.depth; ++l) {
    const Steps<T> own = saved.from(l * a.steps);
    sum_over_columns(own, a.steps, R * hidden, a.dbias + l * R * hidden, stream);
    if (a.dvalues == nullptr) continue;
    const Csr& w = a.levels[l].w;
    sum_over_panels(link_sums_of(w, layer.shape, own.at(0), own.from_row(R * hidden).at(0),
                                 Panelled{a.steps * layer.shape.panels}, dvalues, stream),
                    layer.shape, false, stream);
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
