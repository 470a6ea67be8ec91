// The time loop of the networks in continuous time, over a cell (cells/continuous.h says what it
// provides).
#pragma once

#include "runtime/each.cuh"
#include "sequences/stages.cuh"
#include "sequences/unfolds.cuh"
#include "sparse_engine/cuda.h"

namespace sparse_engine::cuda {
namespace {

template <class Cell, typename T, int V>
struct UnfoldsBack {
  Unfolds<Cell, T, V> stages;
  Product<T> product;  // with W^T
  StagesOfStep<T> own;
  Steps<T> dz;     // [stages][units]
  Steps<T> dh;     // [steps][units]
  Steps<T> dx;     // [steps][units]
  Steps<T> ddt;    // [steps][units], what each unit adds; its data is null if not wanted
  Steps<T> drate;  // [1][units], the sum over the steps so far
  // Gradients of the states at both ends of an unfold, and of what a stage's state leaks.
  Steps<T> start, end, leaked;  // [1][units]

  __device__ bool has_second_phase() const { return product.has_second_phase(); }

  __device__ void operator()(int64_t phase, int64_t t, int64_t m) const {
    const Cell& cell = stages.cell;
    const Method<T>& method = stages.method;
    const bool enters = m + 1 == stages.of_step();
    const auto step = [&](int64_t unit, Column n, T(&sum)[1]) {
      T of_start = start(0, unit, n), of_after = 0;
      if (enters) {
        of_start += dh(t, unit, n);
      } else {
        of_after = cell.template read_backward<ScalarMath<T>>(sum[0], read_by(t, m + 1)(0, unit, n),
                                                              own.states(m + 1, unit, n)) -
                   leaked(0, unit, n);
        of_start += of_after;
      }
      if (m < 0) {
        stages.resets.set_back(t, n, of_start);
        start(0, unit, n) = of_start;
        return;
      }
      if (method.is_last(m)) {
        if (!method.passes(own.states(m + 1, unit, n))) of_start = T(0);
        end(0, unit, n) = of_start;
      }
      start(0, unit, n) = of_start;

      // From the gradients of the states that the stage leads to.
      const T rate = stages.rate_of(unit), y = own.kept(m, unit, n), state = own.states(m, unit, n);
      const T share = method.weight(m) * end(0, unit, n) + method.next_node(m) * of_after;
      const T of_k = stages.dt(t, 0, n) * share;
      const T of_sum = cell.template backward<ScalarMath<T>>(y, rate, of_k);
      dz(m, unit, n) = of_sum;
      leaked(0, unit, n) = rate * of_k;
      dx(t, unit, n) = of_sum + (enters ? T(0) : dx(t, unit, n));
      drate(0, unit, n) += of_k * cell.of_rate(y, state);
      if (ddt.data)
        ddt(t, unit, n) =
            cell.derivative(y, rate, state) * share + (enters ? T(0) : ddt(t, unit, n));
      // The links' gradients are sums over all stages, which have to follow each other.
      if (!Cell::kReadsState && m == 0) stages.between(0, unit, n) = read_by(t, 0)(0, unit, n);
    };
    product.template phase<V, 1>(phase, dz.at(enters ? 0 : m + 1), product.extent(!enters), step);
  }

  // What products have read before stage m of step t.
  __device__ Steps<T> read_by(int64_t t, int64_t m) const {
    return Cell::kReadsState ? own.states.from(m) : stages.read_by(t, m);
  }
};

// sums [length, batch] over the units.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    sum_units(const Steps<T> steps, int64_t length, int64_t batch, T* sums) {
  const int lane = threadIdx.x % kWarp, column = lane % steps.width;
  for (int64_t at = thread_in_grid() / kWarp; at < length * steps.panels;
       at += threads_of_grid() / kWarp) {
    const int64_t t = at / steps.panels, panel = at % steps.panels;
    const int64_t n = panel * steps.width + column;
    T sum = 0;
    for (int64_t unit = lane / steps.width; unit < steps.features; unit += kWarp / steps.width)
      sum += steps(t, unit, {static_cast<int>(panel), column});
    for (int distance = kWarp / 2; distance >= steps.width; distance /= 2)
      sum += __shfl_xor_sync(~0u, sum, distance);
    if (lane < steps.width && n < batch) sums[t * batch + n] = sum;
  }
}

// read(s) of every state.
template <class Cell, typename T>
struct ReadStates {
  Cell cell;
  const T* states;
  T* read;

  __device__ void operator()(int64_t i) const {
    read[i] = cell.template read<ScalarMath<T>>(states[i]);
  }
};

// What both passes need. Of `states`, [1 + steps][units], the first `known` ones are there.
template <typename T, int V, class Cell, class Args>
Unfolds<Cell, T, V> unfolds_of(const Args& a, const Cell& cell, const Layer<T>& layer,
                               const Steps<T>& states, int64_t known, int64_t places) {
  const Steps<T> x = layer.take(a.steps, 1);
  const Steps<T> dt = take_steps<T>(layer.stream, a.steps, 1, layer.shape);
  pack(layer.all(x, a.x, 1, a.steps), layer.stream);
  pack(transfer(a.dt, 1, 0, dt, 0, 1, a.steps, a.batch), layer.stream);
  Unfolds<Cell, T, V> unfolds = {cell,
                                 layer.multiply(a.w, a.values, layer.hidden),
                                 method_of<T>(a.method),
                                 x,
                                 dt,
                                 a.rate,
                                 layer.take(1, 1),
                                 layer.take(1, 1)};
  unfolds.resets = layer.resets(a.resets);
  set_back(states, unfolds.resets, known, layer.stream);
  if constexpr (!Cell::kReadsState) {
    unfolds.read = layer.take(1 + a.steps, 1);
    unfolds.between = layer.take(places, 1), unfolds.places = places;
    run_each(ReadStates<Cell, T>{cell, states.data, unfolds.read.data},
             known * states.step_stride(), layer.stream);
  }
  return unfolds;
}

template <typename T, int V, class Cell>
void forward(const ContinuousForward<T>& a, const Cell& cell, const Layer<T>& layer) {
  const Steps<T> states = layer.take_states(a.h0);
  const Unfolds<Cell, T, V> unfolds = unfolds_of<T, V>(a, cell, layer, states, 1, 2);
  run_forward<T, V>(unfolds, states, a.h, unfolds.product.shared(), unfolds.resets, layer);
}

template <typename T, int V, class Cell>
void backward(const ContinuousBackward<T>& a, const Cell& cell, const Layer<T>& layer) {
  const Stream& stream = layer.stream;
  const T* values = in_order(a.values, a.permutation, a.w.nnz(), stream);
  const Steps<T> states = layer.read_states(a.h0, a.h);
  const int64_t stages = a.method.unfolds * a.method.stages;
  UnfoldsBack<Cell, T, V> back = {};
  back.stages = unfolds_of<T, V>(a, cell, layer, states, 1 + a.steps, stages);
  back.own = {layer.take(1 + stages, 1), layer.take(stages, 1)};
  back.product = layer.multiply(a.wt, values, layer.hidden);
  back.dz = layer.take(stages, 1);
  back.dh = layer.take(a.steps, 1), back.dx = layer.take(a.steps, 1);
  if (a.ddt) back.ddt = layer.take(a.steps, 1);
  back.drate = take_zeros(layer), back.start = take_zeros(layer);
  back.end = layer.take(1, 1), back.leaked = layer.take(1, 1);
  pack(layer.all(back.dh, a.dh, 1, a.steps), stream);
  const Steps<T>& read = Cell::kReadsState ? back.own.states : back.stages.between;
  run_backward<T, V>(back, states,
                     link_sums_of<T>(a.w, layer.shape, Dots<T>{back.dz.at(0), read.at(0)},
                                     Panelled{stages * layer.shape.panels}, a.dvalues, stream),
                     std::max(back.stages.product.shared(), back.product.shared()), layer);
  if (a.dx) unpack(layer.all(back.dx, a.dx, 1, a.steps), stream);
  if (a.dh0) unpack(layer.all(back.start, a.dh0, 1, 1), stream);
  if (a.drate) layer.sum_columns(back.drate, 1, layer.hidden, a.drate);
  if (a.ddt)
    launch(sum_units<T>, a.steps * layer.shape.panels * kWarp, stream, back.ddt, a.steps, a.batch,
           a.ddt);
}

// The same for any batch.
template <class Cell, typename T>
void continuous_forward(const ContinuousForward<T>& a, const Cell& cell, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.rows};
  with_vector<T>(layer.shape, [&](auto vector) { forward<T, vector>(a, cell, layer); });
}

template <class Cell, typename T>
void continuous_backward(const ContinuousBackward<T>& a, const Cell& cell, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.rows};
  with_vector<T>(layer.shape, [&](auto vector) { backward<T, vector>(a, cell, layer); });
}

}  // namespace
}  // namespace sparse_engine::cuda
