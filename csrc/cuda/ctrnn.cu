#include "recurrent.cuh"
#include "sparse_engine/ctrnn.h"
#include "sparse_engine/cuda.h"
#include "unfolds.cuh"

namespace sparse_engine::cuda {
namespace {

template <typename T, int V>
struct ForwardUnfolds {
  static constexpr int kBlocks = 2;

  Unfolds<T, V> unfolds;
  Steps<T> h;        // [1 + steps][units], the first one is before the sequence
  Steps<T> between;  // [2][units], what the stages of a step leave for the next, in turn

  __device__ bool needed(int64_t phase) const {
    return phase % 2 == 0 || unfolds.product.has_long_rows();
  }

  __device__ void operator()(int64_t phase) const {
    const int64_t stages = unfolds.method.stages_of_step();
    const int64_t t = phase / 2 / stages, m = phase / 2 % stages;
    const Panels<T> before = m == 0 ? h.at(t) : between.at(m % 2);
    const Panels<T> after = m + 1 == stages ? h.at(t + 1) : between.at((m + 1) % 2);
    unfolds.stage(phase % 2, t, m, before,
                  [&](int64_t unit, int64_t panel, int column, const Vec<T, V>&, const Vec<T, V>&,
                      const Vec<T, V>& next) { store<V>(after.row(panel, unit) + column, next); });
  }
};

// One step: its stages once more, and back through them. The last two phases lead to the state
// before the step.
template <typename T, int V>
struct BackwardUnfolds {
  static constexpr int kBlocks = 2;

  Unfolds<T, V> unfolds;
  Product<T> product;   // with W^T
  Steps<T> h;           // [1 + steps][units]
  Steps<T> states;      // [1 + stages][units], before each stage, and after the last
  Steps<T> activation;  // [stages][units]
  Steps<T> du;          // [stages][units]
  Steps<T> dh;          // [steps][units]
  Steps<T> dx;          // [steps][units]
  Steps<T> ddt;         // [steps][units], what each unit adds; its data is null if not wanted
  Steps<T> drate;       // [1][units], the sum over the steps so far
  // Gradients of the states at both ends of an unfold, and of what a stage's state leaks.
  Steps<T> start, end, leaked;  // [1][units]
  int64_t t;

  int64_t phases() const { return 2 * (2 * unfolds.method.stages_of_step() + 1); }

  __device__ bool needed(int64_t phase) const {
    const bool is_forward = phase < 2 * unfolds.method.stages_of_step();
    return phase % 2 == 0 || (is_forward ? unfolds.product : product).has_long_rows();
  }

  __device__ void operator()(int64_t phase) const {
    const int64_t stages = unfolds.method.stages_of_step(), m = phase / 2;
    if (m < stages)
      forward(phase % 2, m);
    else
      backward(phase % 2, 2 * stages - 1 - m);
  }

  __device__ void forward(int64_t phase, int64_t m) const {
    unfolds.stage(phase, t, m, m == 0 ? h.at(t) : states.at(m),
                  [&](int64_t unit, int64_t panel, int column, const Vec<T, V>& before,
                      const Vec<T, V>& y, const Vec<T, V>& after) {
                    if (m == 0) store<V>(states.at(0).row(panel, unit) + column, before);
                    store<V>(activation.at(m).row(panel, unit) + column, y);
                    store<V>(states.at(m + 1).row(panel, unit) + column, after);
                  });
  }

  // Stage m, or with m = -1 the way out of the step.
  __device__ void backward(int64_t phase, int64_t m) const {
    const Method<T>& method = unfolds.method;
    const bool enters = m + 1 == method.stages_of_step();
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
        const Vec<T, V> reached = load<V>(at(states.at(m + 1)));
#pragma unroll
        for (int v = 0; v < V; ++v)
          if (!method.passes(reached.at[v])) of_start.at[v] = T(0);
        of_end = of_start;
        store<V>(at(end.at(0)), of_end);
      } else {
        of_end = load<V>(at(end.at(0)));
      }
      store<V>(at(start.at(0)), of_start);
      stage(m, unit, panel, column, of_end, of_after);
    };
    product.template phase<V, 1>(phase, enters ? du.at(0) : du.at(m + 1), !enters, step);
  }

  // From the gradients of the states that stage m of a unit leads to.
  __device__ void stage(int64_t m, int64_t unit, int64_t panel, int column, const Vec<T, V>& of_end,
                        const Vec<T, V>& of_after) const {
    const Method<T>& method = unfolds.method;
    const auto at = [&](const Panels<T>& panels) { return panels.row(panel, unit) + column; };
    const bool is_new = m + 1 == method.stages_of_step();
    const T weight = method.weight(m), node = method.next_node(m), rate = unfolds.rate_of(unit);
    const Vec<T, V> dt = unfolds.length(t, panel, column), y = load<V>(at(activation.at(m)));
    const Vec<T, V> state = load<V>(at(states.at(m)));
    Vec<T, V> of_x = is_new ? Vec<T, V>{} : load<V>(at(dx.at(t))), of_sum, leaks;
    Vec<T, V> of_rate = load<V>(at(drate.at(0))), of_dt = {};
    if (ddt.data && !is_new) of_dt = load<V>(at(ddt.at(t)));
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T share = weight * of_end.at[v] + node * of_after.at[v], of_k = dt.at[v] * share;
      of_sum.at[v] = of_k * Tanh::slope(y.at[v]);
      leaks.at[v] = rate * of_k;
      of_x.at[v] += of_sum.at[v];
      of_rate.at[v] -= of_k * state.at[v];
      of_dt.at[v] += (y.at[v] - rate * state.at[v]) * share;
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
          Method<T>(a.method),
          x,
          dt,
          a.rate,
          layer.take(1, 1),
          layer.take(1, 1)};
}

template <typename T, int V>
void forward(const CtrnnForward<T>& a, const Layer<T>& layer) {
  const Unfolds<T, V> unfolds = unfolds_of<T, V>(a, layer);
  const Steps<T> h = layer.take_states(a.h0);
  run(ForwardUnfolds<T, V>{unfolds, h, layer.take(2, 1)},
      2 * a.steps * unfolds.method.stages_of_step(), unfolds.product.threads(), layer.stream);
  unpack(layer.all(h.from(1), a.h, 1, a.steps), layer.stream);
}

template <typename T, int V>
void backward(const CtrnnBackward<T>& a, const Layer<T>& layer) {
  const Stream& stream = layer.stream;
  const Unfolds<T, V> unfolds = unfolds_of<T, V>(a, layer);
  const T* values = in_order(a.values, a.permutation, a.w.nnz(), stream);
  const Product<T> product = product_of(a.wt, values, layer.hidden, layer.shape, stream);
  const int64_t stages = unfolds.method.stages_of_step();
  const int64_t threads = std::max(unfolds.product.threads(), product.threads());
  const Steps<T> states = layer.take(1 + stages, 1), du = layer.take(stages, 1);
  const Steps<T> dh = layer.take(a.steps, 1), dx = layer.take(a.steps, 1);
  const Steps<T> ddt = a.ddt ? layer.take(a.steps, 1) : Steps<T>{};
  const Steps<T> drate = layer.take(1, 1), start = layer.take(1, 1);
  for (const Steps<T>& sums : {drate, start}) layer.set_first(sums, nullptr);
  pack(layer.all(dh, a.dh, 1, a.steps), stream);
  BackwardUnfolds<T, V> step{unfolds,
                             product,
                             layer.read_states(a.h0, a.h),
                             states,
                             layer.take(stages, 1),
                             du,
                             dh,
                             dx,
                             ddt,
                             drate,
                             start,
                             layer.take(1, 1),
                             layer.take(1, 1),
                             0};
  const LinkSums<T> sums = link_sums_of(a.w, layer.shape, du.at(0), states.at(0),
                                        stages * layer.shape.panels, a.dvalues, stream);
  for (step.t = a.steps - 1; step.t >= 0; --step.t) {
    run(step, step.phases(), threads, stream);
    if (a.dvalues) sum_over_panels(sums, layer.shape, step.t + 1 < a.steps, stream);
  }
  if (a.dx) unpack(layer.all(dx, a.dx, 1, a.steps), stream);
  if (a.dh0) unpack(layer.all(start, a.dh0, 1, 1), stream);
  if (a.drate) sum_over_columns(drate, 1, layer.hidden, a.drate, stream);
  if (a.ddt)
    launch(sum_units<T>, a.steps * layer.shape.panels * kWarp, stream, ddt, a.steps, a.batch,
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
