// The time loop of all recurrent cells: a program of two phases per step, the product with the
// cell where a unit's sums are complete, and the same for units with long rows.
//
// A cell is a class of
//   kGates, kRows: the rows of W, and the rows of the `gates` panels, that a unit has;
//   kSaves, kHasMemory, kCarries: whether a step leaves something in these rows for the backward
//     pass, carries a c beside h, and passes a gradient back other than by the weight;
//   forward(rows, u, carried): from the input's contribution, in the first rows, and the recurrent
//     one, returns h. Leaves in `rows` what the backward pass needs; takes c over to the next step
//     in `carried` (without a c, it holds the h before);
//   backward(rows, dh, before, now, carried): from what was saved and the gradient of h to those of
//     u, in the first rows. `before` and `now` are c (without one, h) before and after the step;
//     `carried` is what reaches the gradient of c, or of h, other than by the weight;
//   input_row(gate): where it leaves the gradient of the input's contribution.
// What a unit saves is these rows, and c where there is one.
#pragma once

#include "dense.cuh"
#include "link_sums.cuh"
#include "phases.cuh"
#include "product.cuh"
#include "sparse_engine/gated.h"

namespace sparse_engine::cuda {
namespace {

template <typename T, int V, class Cell>
struct ForwardSteps {
  static constexpr int G = Cell::kGates, R = Cell::kRows, kBlocks = R == 1 ? 3 : 2;

  Product<T> product;
  const T *bias, *b_input;
  Steps<T> gates;  // [steps][R * units]
  Steps<T> h, c;   // [1 + steps][units], the first one is before the sequence
  bool has_initial;

  __device__ bool needed(int64_t phase) const { return phase % 2 == 0 || product.has_long_rows(); }

  __device__ void operator()(int64_t phase) const {
    const int64_t t = phase / 2, units = product.units;
    const Panels<T> own = gates.at(t), before = h.at(t), now = h.at(t + 1);
    const Panels<T> from = Cell::kHasMemory ? c.at(t) : before;
    const auto step = [&](int64_t unit, int64_t panel, int column, Vec<T, V>(&u)[G]) {
      Vec<T, V> rows[R] = {}, next, carried = load<V>(from.row(panel, unit) + column);
#pragma unroll
      for (int g = 0; g < G; ++g) rows[g] = load<V>(own.row(panel, g * units + unit) + column);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        T row[R], sum[G];
#pragma unroll
        for (int r = 0; r < R; ++r) row[r] = rows[r].at[v];
#pragma unroll
        for (int g = 0; g < G; ++g) {
          row[g] += b_input ? b_input[g * units + unit] : T(0);
          sum[g] = u[g].at[v] + (bias ? bias[g * units + unit] : T(0));
        }
        next.at[v] = Cell::forward(row, sum, carried.at[v]);
#pragma unroll
        for (int r = 0; r < R; ++r) rows[r].at[v] = row[r];
      }
      store<V>(now.row(panel, unit) + column, next);
      if (Cell::kHasMemory) store<V>(c.at(t + 1).row(panel, unit) + column, carried);
      if constexpr (Cell::kSaves)
#pragma unroll
        for (int r = 0; r < R; ++r) store<V>(own.row(panel, r * units + unit) + column, rows[r]);
    };
    product.template phase<V, G>(phase % 2, before, t > 0 || has_initial, step);
  }
};

template <typename T, int V, class Cell>
struct BackwardSteps {
  static constexpr int G = Cell::kGates, R = Cell::kRows, kBlocks = R == 1 ? 3 : 2;

  Product<T> product;  // with W^T
  Steps<T> gates;      // [steps][R * units], what was saved becomes du
  Steps<T> dh;         // [steps][units]
  Steps<T> state;      // [1 + steps][units]: c, or h where there is none
  Steps<T> carried;    // [1][units]
  Steps<T> dh0;        // [1][units], written by the last two phases
  int64_t steps;

  __device__ bool needed(int64_t phase) const { return phase % 2 == 0 || product.has_long_rows(); }

  __device__ void operator()(int64_t phase) const {
    const int64_t t = steps - 1 - phase / 2, units = product.units;
    const auto before_sequence = [&](int64_t unit, int64_t panel, int column, Vec<T, V>(&sums)[1]) {
      if (Cell::kCarries && !Cell::kHasMemory) {
        const Vec<T, V> rest = load<V>(carried.at(0).row(panel, unit) + column);
        for (int v = 0; v < V; ++v) sums[0].at[v] += rest.at[v];
      }
      store<V>(dh0.at(0).row(panel, unit) + column, sums[0]);
    };
    const auto step = [&](int64_t unit, int64_t panel, int column, Vec<T, V>(&sums)[1]) {
      const Panels<T> own = gates.at(t);
      Vec<T, V> rows[R] = {}, carry = {};
      const Vec<T, V> upstream = load<V>(dh.at(t).row(panel, unit) + column);
      const Vec<T, V> before = load<V>(state.at(t).row(panel, unit) + column);
      const Vec<T, V> now = load<V>(state.at(t + 1).row(panel, unit) + column);
      T* carry_at = carried.at(0).row(panel, unit) + column;
      if (Cell::kCarries) carry = load<V>(carry_at);
      if constexpr (Cell::kSaves)
#pragma unroll
        for (int r = 0; r < R; ++r) rows[r] = load<V>(own.row(panel, r * units + unit) + column);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        T row[R];
#pragma unroll
        for (int r = 0; r < R; ++r) row[r] = rows[r].at[v];
        Cell::backward(row, sums[0].at[v] + upstream.at[v], before.at[v], now.at[v], carry.at[v]);
#pragma unroll
        for (int r = 0; r < R; ++r) rows[r].at[v] = row[r];
      }
      if (Cell::kCarries) store<V>(carry_at, carry);
#pragma unroll
      for (int r = 0; r < R; ++r) store<V>(own.row(panel, r * units + unit) + column, rows[r]);
    };
    if (t < 0)
      product.template phase<V, 1>(phase % 2, gates.at(0), true, before_sequence);
    else
      product.template phase<V, 1>(phase % 2, gates.at(t + 1), t + 1 < steps, step);
  }
};

// Of a sequence, in panels.
template <typename T>
struct Layer {
  const Stream& stream;
  const Shape shape;
  const int64_t steps, hidden;

  Steps<T> take(int64_t length, int64_t rows) const {
    return take_steps<T>(stream, length, rows * hidden, shape);
  }

  // Between rows of units and the features of a user's array, [length, batch, all * hidden], that
  // start with row `from`.
  Transfer<T> rows(const Steps<T>& panels, int64_t row, const T* array, int64_t all, int64_t from,
                   int64_t count, int64_t length) const {
    return transfer(array, all * hidden, from * hidden, panels, row * hidden, count * hidden,
                    length, shape.columns);
  }
  Transfer<T> all(const Steps<T>& panels, const T* array, int64_t rows_of_unit,
                  int64_t length) const {
    return rows(panels, 0, array, rows_of_unit, 0, rows_of_unit, length);
  }

  // The columns of all steps, beside each other.
  SequenceColumns<T> columns(const Steps<T>& panels) const { return {panels, shape.columns}; }

  // rows [steps][count] = w_input x_t, with w_input [count, inputs] and x [steps, batch, inputs].
  void multiply(const T* w_input, const T* x, int64_t inputs, const Steps<T>& panels,
                int64_t count) const {
    dense_product<T>(Strided<const T>{w_input, inputs, 1}, Strided<const T>{x, inputs, 1},
                     columns(panels), count, steps * shape.columns, inputs, stream);
  }
  // dw_input [count, inputs] = sum_t rows_t x_t^T.
  void multiply_gradient(const Steps<T>& panels, int64_t count, const T* x, int64_t inputs,
                         T* dw_input) const {
    dense_product<T>(columns(panels), Strided<const T>{x, 1, inputs},
                     Strided<T>{dw_input, inputs, 1}, count, inputs, steps * shape.columns, stream);
  }

  // [1 + steps][units]: the first one from `initial`, or zeros.
  Steps<T> take_states(const T* initial) const {
    const Steps<T> states = take(1 + steps, 1);
    set_first(states, initial);
    return states;
  }
  void set_first(const Steps<T>& states, const T* initial) const {
    if (initial)
      pack(all(states, initial, 1, 1), stream);
    else
      fill_zeros(states.data, states.step_stride(), stream);
  }
  // The same with all steps of `array`.
  Steps<T> read_states(const T* initial, const T* array) const {
    const Steps<T> states = take_states(initial);
    pack(all(states.from(1), array, 1, steps), stream);
    return states;
  }
};

// The forward pass, once the input's contribution is in `gates` and the initial states are set.
template <class Cell, typename T>
void run_forward(const GatedForward<T>& a, const Layer<T>& layer, const Steps<T>& gates,
                 const Steps<T>& h, const Steps<T>& c) {
  const Product<T> product = product_of(a.w, a.values, layer.hidden, layer.shape, layer.stream);
  with_vector<T>(layer.shape, [&](auto vector) {
    const ForwardSteps<T, vector, Cell> program{product, a.bias, a.b_input,      gates,
                                                h,       c,      a.h0 != nullptr};
    run(program, 2 * layer.steps, product.threads(), layer.stream);
  });
  unpack(layer.all(h.from(1), a.h, 1, layer.steps), layer.stream);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    sum_rows(const Steps<T> steps, int64_t length, int64_t rows, T* sums) {
  const int lane = threadIdx.x % kWarp, column = lane % steps.width;
  for (int64_t row = thread_in_grid() / kWarp; row < rows; row += threads_of_grid() / kWarp) {
    T sum = 0;
    for (int64_t k = lane / steps.width; k < length * steps.panels; k += kWarp / steps.width)
      sum += steps.at(0).row(k, row)[column];
    for (int distance = kWarp / 2; distance > 0; distance /= 2)
      sum += __shfl_xor_sync(~0u, sum, distance);
    if (lane == 0) sums[row] = sum;
  }
}

template <typename T>
void sum_over_columns(const Steps<T>& steps, int64_t length, int64_t rows, T* sums,
                      const Stream& stream) {
  launch(sum_rows<T>, rows * kWarp, stream, steps, length, rows, sums);
}

// The backward pass; `gates` hold what the forward pass saved and then the gradients, `state` is c
// or h. Writes all gradients but those of the input.
template <class Cell, typename T>
void run_backward(const GatedBackward<T>& a, const Layer<T>& layer, const Steps<T>& gates,
                  const Steps<T>& state, const Steps<T>& h) {
  const Stream& stream = layer.stream;
  const int64_t steps = layer.steps, hidden = layer.hidden;
  const Steps<T> dh = layer.take(steps, 1), dh0 = layer.take(1, 1), carried = layer.take(1, 1);
  pack(layer.all(dh, a.dh, 1, steps), stream);
  layer.set_first(carried, a.dc_n);
  const T* values = in_order(a.values, a.permutation, a.w.nnz(), stream);
  const Product<T> product = product_of(a.wt, values, hidden, layer.shape, stream);
  with_vector<T>(layer.shape, [&](auto vector) {
    const BackwardSteps<T, vector, Cell> program{product, gates, dh, state, carried, dh0, steps};
    run(program, 2 * (steps + (a.dh0 ? 1 : 0)), product.threads(), stream);
  });
  if (a.dh0) unpack(layer.all(dh0, a.dh0, 1, 1), stream);
  if (a.dc0) unpack(layer.all(carried, a.dc0, 1, 1), stream);
  sum_over_columns(gates, steps, a.w.rows, a.dbias, stream);
  if (a.dvalues) {
    const int64_t first = a.h0 ? 0 : 1;
    const LinkSums<T> sums = link_sums_of(a.w, layer.shape, gates.at(first), h.at(first),
                                          (steps - first) * layer.shape.panels, a.dvalues, stream);
    sum_over_panels(sums, layer.shape, false, stream);
  }
}

// The transfers of what a unit saves, [steps, batch, saved * hidden] in blocks of `hidden`
// features: its rows, and c.
template <class Cell, typename T>
struct Saved {
  static constexpr int kAll = Cell::kRows + (Cell::kHasMemory ? 1 : 0);

  const Layer<T>& layer;
  const T* array;

  Transfer<T> rows(const Steps<T>& gates) const {
    return layer.rows(gates, 0, array, kAll, 0, Cell::kRows, layer.steps);
  }
  Transfer<T> memory(const Steps<T>& c) const {
    return layer.rows(c.from(1), 0, array, kAll, Cell::kRows, 1, layer.steps);
  }
};

template <class Cell, typename T>
void gated_forward(const GatedForward<T>& a, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.cols};
  const Steps<T> gates = layer.take(a.steps, Cell::kRows), h = layer.take_states(a.h0);
  const Steps<T> c = Cell::kHasMemory ? layer.take_states(a.c0) : Steps<T>{};
  if (a.w_input)
    layer.multiply(a.w_input, a.x, a.inputs, gates, a.w.rows);
  else
    pack(layer.rows(gates, 0, a.x, Cell::kGates, 0, Cell::kGates, a.steps), stream);
  run_forward<Cell>(a, layer, gates, h, c);
  if (Cell::kHasMemory) unpack(layer.all(c.from(a.steps), a.c_n, 1, 1), stream);
  if (!a.saved) return;
  const Saved<Cell, T> saved{layer, a.saved};
  unpack(saved.rows(gates), stream);
  if (Cell::kHasMemory) unpack(saved.memory(c), stream);
}

template <class Cell, typename T>
void gated_backward(const GatedBackward<T>& a, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.cols};
  const Steps<T> gates = layer.take(a.steps, Cell::kRows), h = layer.read_states(a.h0, a.h);
  const Steps<T> state = Cell::kHasMemory ? layer.take_states(a.c0) : h;
  const Saved<Cell, T> saved{layer, a.saved};
  pack(saved.rows(gates), stream);
  if (Cell::kHasMemory) pack(saved.memory(state), stream);
  run_backward<Cell>(a, layer, gates, state, h);
  for (int g = 0; g < Cell::kGates; ++g) {
    const int64_t hidden = layer.hidden, own = g * hidden;
    const Steps<T> dv = gates.from_row(Cell::input_row(g) * hidden);
    if (a.dv) unpack(layer.rows(dv, 0, a.dv, Cell::kGates, g, 1, a.steps), stream);
    if (a.dw_input) layer.multiply_gradient(dv, hidden, a.x, a.inputs, a.dw_input + own * a.inputs);
    if (a.db_input) sum_over_columns(dv, a.steps, hidden, a.db_input + own, stream);
  }
}

}  // namespace
}  // namespace sparse_engine::cuda
