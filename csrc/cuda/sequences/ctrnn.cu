#include "sequences/stages.cuh"
#include "sequences/unfolds.cuh"
#include "sparse_engine/ctrnn.h"
#include "sparse_engine/cuda.h"

namespace sparse_engine::cuda {
namespace {

template <typename T, int V>
struct UnfoldsBack {
  Unfolds<T, V> stages;
  Product<T> product;  // with W^T
  StagesOfStep<T> own;
  Steps<T> du;     // [stages][units]
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
#pragma unroll
      for (int v = 0; v < V; ++v) {
        if (!enters) of_after.at[v] = sums[0].at[v] - more.at[v];
        of_start.at[v] += enters ? more.at[v] : of_after.at[v];
      }
      if (m < 0) return store<V>(at(start.at(0)), of_start);

      Vec<T, V> of_end;
      if (method.is_last(m)) {
        const Vec<T, V> reached = load<V>(at(own.states.at(m + 1)));
#pragma unroll
        for (int v = 0; v < V; ++v)
          if (!method.passes(reached.at[v])) of_start.at[v] = T(0);
        of_end = of_start;
        store<V>(at(end.at(0)), of_end);
      } else {
        of_end = load<V>(at(end.at(0)));
      }
      store<V>(at(start.at(0)), of_start);
      stage(t, m, unit, panel, column, of_end, of_after);
    };
    product.template phase<V, 1>(phase, enters ? du.at(0) : du.at(m + 1), !enters, step);
  }

  // From the gradients of the states that stage m of a unit leads to.
  __device__ void stage(int64_t t, int64_t m, int64_t unit, int64_t panel, int column,
                        const Vec<T, V>& of_end, const Vec<T, V>& of_after) const {
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
      of_sum.at[v] = Leaky::backward<ScalarMath<T>>(y.at[v], of_k);
      leaks.at[v] = rate * of_k;
      of_x.at[v] += of_sum.at[v];
      of_rate.at[v] -= of_k * state.at[v];
      of_dt.at[v] += Leaky::derivative(y.at[v], rate, state.at[v]) * share;
    }
    store<V>(at(du.at(m)), of_sum);
    store<V>(at(leaked.at(0)), leaks);
    store<V>(at(dx.at(t)), of_x);
    store<V>(at(drate.at(0)), of_rate);
    if (ddt.data) store<V>(at(ddt.at(t)), of_dt);
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

// What both passes need.
template <typename T, int V, class Args>
Unfolds<T, V> unfolds_of(const Args& a, const Layer<T>& layer) {
  const Steps<T> x = layer.take(a.steps, 1);
  const Steps<T> dt = take_steps<T>(layer.stream, a.steps, 1, layer.shape);
  pack(layer.all(x, a.x, 1, a.steps), layer.stream);
  pack(transfer(a.dt, 1, 0, dt, 0, 1, a.steps, a.batch), layer.stream);
  return {product_of(a.w, a.values, layer.hidden, layer.shape, layer.stream),
          method_of<T>(a.method),
          x,
          dt,
          a.rate,
          layer.take(1, 1),
          layer.take(1, 1)};
}

template <typename T, int V>
void forward(const CtrnnForward<T>& a, const Layer<T>& layer) {
  const Unfolds<T, V> unfolds = unfolds_of<T, V>(a, layer);
  run_forward<T, V>(unfolds, a.h0, a.h, unfolds.product.size(), layer);
}

template <typename T, int V>
void backward(const CtrnnBackward<T>& a, const Layer<T>& layer) {
  const Stream& stream = layer.stream;
  const T* values = in_order(a.values, a.permutation, a.w.nnz(), stream);
  UnfoldsBack<T, V> back = {};
  back.stages = unfolds_of<T, V>(a, layer);
  const int64_t stages = back.stages.of_step();
  back.own = {layer.take(1 + stages, 1), layer.take(stages, 1)};
  back.product = product_of(a.wt, values, layer.hidden, layer.shape, stream);
  back.du = layer.take(stages, 1);
  back.dh = layer.take(a.steps, 1), back.dx = layer.take(a.steps, 1);
  if (a.ddt) back.ddt = layer.take(a.steps, 1);
  back.drate = take_zeros(layer), back.start = take_zeros(layer);
  back.end = layer.take(1, 1), back.leaked = layer.take(1, 1);
  pack(layer.all(back.dh, a.dh, 1, a.steps), stream);
  run_backward<T, V>(back, layer.read_states(a.h0, a.h),
                     link_sums_of(a.w, layer.shape, back.du.at(0), back.own.states.at(0),
                                  stages * layer.shape.panels, a.dvalues, stream),
                     larger(back.stages.product.size(), back.product.size()), layer);
  if (a.dx) unpack(layer.all(back.dx, a.dx, 1, a.steps), stream);
  if (a.dh0) unpack(layer.all(back.start, a.dh0, 1, 1), stream);
  if (a.drate) sum_over_columns(back.drate, 1, layer.hidden, a.drate, stream);
  if (a.ddt)
    launch(sum_units<T>, a.steps * layer.shape.panels * kWarp, stream, back.ddt, a.steps, a.batch,
           a.ddt);
}

}  // namespace

template <typename T>
void ctrnn_forward(const CtrnnForward<T>& a, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.rows};
  with_vector<T>(layer.shape, [&](auto vector) { forward<T, vector>(a, layer); });
}

template <typename T>
void ctrnn_backward(const CtrnnBackward<T>& a, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.rows};
  with_vector<T>(layer.shape, [&](auto vector) { backward<T, vector>(a, layer); });
}

template void ctrnn_forward(const CtrnnForward<float>&, const Stream&);
template void ctrnn_forward(const CtrnnForward<double>&, const Stream&);
template void ctrnn_backward(const CtrnnBackward<float>&, const Stream&);
template void ctrnn_backward(const CtrnnBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
