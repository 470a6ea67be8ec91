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
    const Method<T>& method = stages.method;
    const bool enters = m + 1 == stages.of_step();
    const auto step = [&](int64_t unit, int64_t panel, int column, Vec<T, V>(&sums)[1]) {
      const auto at = [&](const Panels<T>& panels) { return panels.row(panel, unit) + column; };
      Vec<T, V> of_start = load<V>(at(start.at(0))), of_after = {};
      const Vec<T, V> more = load<V>(at(enters ? dh.at(t) : leaked.at(0)));
      const Vec<T, V> state = load<V>(at(own.states.at(m + 1))),
                      read = load<V>(at(read_by(t, m + 1)));
#pragma unroll
      for (int v = 0; v < V; ++v) {
        if (!enters)
          of_after.at[v] = stages.cell.template read_backward<ScalarMath<T>>(
                               sums[0].at[v], read.at[v], state.at[v]) -
                           more.at[v];
        of_start.at[v] += enters ? more.at[v] : of_after.at[v];
      }
      if (m < 0) {
        stages.resets.set_back(t, panel * start.width + column, of_start);
        return store<V>(at(start.at(0)), of_start);
      }

      Vec<T, V> of_end;
      if (method.is_last(m)) {
#pragma unroll
        for (int v = 0; v < V; ++v)
          if (!method.passes(state.at[v])) of_start.at[v] = T(0);
        of_end = of_start;
        store<V>(at(end.at(0)), of_end);
      } else {
        of_end = load<V>(at(end.at(0)));
      }
      store<V>(at(start.at(0)), of_start);
      stage(t, m, unit, panel, column, of_end, of_after);
    };
    product.template phase<V, 1>(phase, enters ? dz.at(0) : dz.at(m + 1), !enters, step);
  }

  // What products have read before stage m of step t.
  __device__ Panels<T> read_by(int64_t t, int64_t m) const {
    return Cell::kReadsState ? own.states.at(m) : stages.read_by(t, m);
  }

  // From the gradients of the states that stage m of a unit leads to.
  __device__ void stage(int64_t t, int64_t m, int64_t unit, int64_t panel, int column,
                        const Vec<T, V>& of_end, const Vec<T, V>& of_after) const {
    const Cell& cell = stages.cell;
    const Method<T>& method = stages.method;
    const auto at = [&](const Panels<T>& panels) { return panels.row(panel, unit) + column; };
    const bool is_new = m + 1 == stages.of_step();
    const T weight = method.weight(m), node = method.next_node(m), rate = stages.rate_of(unit);
    const Vec<T, V> dt = stages.length(t, panel, column), y = load<V>(at(own.kept.at(m)));
    const Vec<T, V> state = load<V>(at(own.states.at(m)));
    Vec<T, V> of_x = is_new ? Vec<T, V>{} : load<V>(at(dx.at(t))), of_sum, leaks;
    Vec<T, V> of_rate = load<V>(at(drate.at(0))), of_dt = {};
    if (ddt.data && !is_new) of_dt = load<V>(at(ddt.at(t)));
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T share = weight * of_end.at[v] + node * of_after.at[v], of_k = dt.at[v] * share;
      of_sum.at[v] = cell.template backward<ScalarMath<T>>(y.at[v], rate, of_k);
      leaks.at[v] = rate * of_k;
      of_x.at[v] += of_sum.at[v];
      of_rate.at[v] += of_k * cell.of_rate(y.at[v], state.at[v]);
      of_dt.at[v] += cell.derivative(y.at[v], rate, state.at[v]) * share;
    }
    store<V>(at(dz.at(m)), of_sum);
    store<V>(at(leaked.at(0)), leaks);
    store<V>(at(dx.at(t)), of_x);
    store<V>(at(drate.at(0)), of_rate);
    if (ddt.data) store<V>(at(ddt.at(t)), of_dt);
    // The links' gradients are sums over all stages, which have to follow each other.
    if (!Cell::kReadsState && m == 0)
      store<V>(at(stages.between.at(0)), load<V>(at(read_by(t, 0))));
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
      sum += steps.at(t).row(panel, unit)[column];
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
                                 product_of(a.w, a.values, layer.hidden, layer.shape, layer.stream),
                                 method_of<T>(a.method),
                                 x,
                                 dt,
                                 a.rate,
                                 layer.take(1, 1),
                                 layer.take(1, 1)};
  unfolds.resets = {a.resets, a.steps, a.batch};
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
  back.product = product_of(a.wt, values, layer.hidden, layer.shape, stream);
  back.dz = layer.take(stages, 1);
  back.dh = layer.take(a.steps, 1), back.dx = layer.take(a.steps, 1);
  if (a.ddt) back.ddt = layer.take(a.steps, 1);
  back.drate = take_zeros(layer), back.start = take_zeros(layer);
  back.end = layer.take(1, 1), back.leaked = layer.take(1, 1);
  pack(layer.all(back.dh, a.dh, 1, a.steps), stream);
  const Steps<T>& read = Cell::kReadsState ? back.own.states : back.stages.between;
  run_backward<T, V>(back, states,
                     link_sums_of(a.w, layer.shape, back.dz.at(0), read.at(0),
                                  Panelled{stages * layer.shape.panels}, a.dvalues, stream),
                     std::max(back.stages.product.shared(), back.product.shared()), layer);
  if (a.dx) unpack(layer.all(back.dx, a.dx, 1, a.steps), stream);
  if (a.dh0) unpack(layer.all(back.start, a.dh0, 1, 1), stream);
  if (a.drate) sum_over_columns(back.drate, 1, layer.hidden, a.drate, stream);
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
