// ctrnn_forward and ctrnn_backward.
#include <cmath>
#include <tuple>

#include "pattern.h"
#include "sequence.h"
#include "sparse_engine/cuda.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine::bindings {
namespace {

RungeKutta method_of(const Pattern& pattern, const std::vector<double>& nodes,
                     const std::vector<double>& weights, int64_t unfolds, double clip) {
  if (pattern.rows() != pattern.cols())
    fail("expected a square recurrent weight, found ", pattern.rows(), " x ", pattern.cols());
  if (nodes.empty() || nodes.size() != weights.size() || nodes[0] != 0)
    fail("expected a solver with as many weights as nodes, the first of them 0, found ",
         nodes.size(), " nodes and ", weights.size(), " weights");
  if (OnCuda::here() && nodes.size() > cuda::kMostStages)
    fail("expected a solver of at most ", cuda::kMostStages, " stages on CUDA devices, found ",
         nodes.size());
  if (unfolds < 1) fail("expected unfolds of at least 1, found ", unfolds);
  if (!(clip > 0)) fail("expected clip above 0, found ", clip);
  return {nodes.data(), weights.data(), static_cast<int64_t>(nodes.size()), unfolds, clip};
}

// The length of an unfold at every step of every sequence, made contiguous. On a CUDA device it is
// not looked at, for which the host would have to wait.
template <typename T>
Tensor lengths(const Tensor& dt, int64_t steps, int64_t batch) {
  check_type(dt, "dt", kType<T>);
  check_shape(dt, "dt", {steps, batch});
  const Tensor all = made_contiguous(dt);
  if (OnCuda::here()) return all;
  for (int64_t i = 0; i < steps * batch; ++i) {
    const T length = data<T>(all)[i];
    if (!(length >= 0) || std::isinf(length))
      fail("expected dt (timespans / unfolds) to be finite and at least 0, found ", length,
           " at step ", i / batch, " of sequence ", i % batch);
  }
  return all;
}

// h, and the state after its last step; without rows where no state is rounded, whose h has it.
std::tuple<Tensor, Tensor> ctrnn_forward(const Tensor& x, const std::optional<Tensor>& h0,
                                         const Tensor& dt, const std::optional<Tensor>& rate,
                                         const Tensor& values, const Tensor& crow,
                                         const Tensor& col, const Tensor& t_crow,
                                         const Tensor& t_col, const Tensor& permutation,
                                         std::vector<double> nodes, std::vector<double> weights,
                                         int64_t unfolds, std::optional<double> clip) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  const RungeKutta method = method_of(pattern, nodes, weights, unfolds, bound(clip));
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    check_kernel(kernels.ctrnn_forward);
    constexpr bool rounds = !std::is_same_v<T, A>;
    const int64_t hidden = pattern.rows();
    const Tensor links = vector(values, "values", kType<T>, pattern.nnz());
    const Tensor input = sequence(x, "x", kType<A>, hidden);
    const int64_t steps = input.size(0), batch = input.size(1);
    const std::optional<Tensor> start = state(h0, "h0", kType<T>, batch, hidden);
    const std::optional<Tensor> leak = vector(rate, "rate", kType<T>, hidden);
    const Tensor length = lengths<T>(dt, steps, batch);
    if (rounds && steps == 0) fail("expected x of at least one time step, found none");
    Tensor h = empty(input, {steps, batch, hidden});
    Tensor h_n = empty(links, {rounds ? batch : 0, hidden});
    if (h.numel() == 0) return std::tuple(h, h_n);
    const Links w = pattern.links();
    kernels.ctrnn_forward({w.csr(), data<T>(links), data<A>(input), data_or_null<T>(start),
                           data<T>(length), data_or_null<T>(leak), mutable_data<A>(h),
                           rounds ? mutable_data<T>(h_n) : nullptr, method, steps, batch,
                           threads()});
    return std::tuple(h, h_n);
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

// Of x, h0, dt, rate and values; what is not wanted comes back empty.
Gradients ctrnn_backward(const Tensor& dh, const std::optional<Tensor>& dh_n, const Tensor& h,
                         const Tensor& x, const std::optional<Tensor>& h0, const Tensor& dt,
                         const std::optional<Tensor>& rate, const Tensor& values,
                         const Tensor& crow, const Tensor& col, const Tensor& t_crow,
                         const Tensor& t_col, const Tensor& permutation, std::vector<double> nodes,
                         std::vector<double> weights, int64_t unfolds, std::optional<double> clip,
                         bool wants_x, bool wants_dt, bool wants_values) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  const RungeKutta method = method_of(pattern, nodes, weights, unfolds, bound(clip));
  return with_activations(values, h, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    check_kernel(kernels.ctrnn_backward);
    const int64_t hidden = pattern.rows(), nnz = pattern.nnz();
    const Tensor links = vector(values, "values", kType<T>, nnz);
    const Tensor states = sequence(h, "h", kType<A>, hidden);
    const Tensor gradient = sequence(dh, "dh", kType<A>, hidden);
    const Tensor input = sequence(x, "x", kType<A>, hidden);
    const int64_t steps = states.size(0), batch = states.size(1);
    check_shape(gradient, "dh", {steps, batch, hidden});
    check_shape(input, "x", {steps, batch, hidden});
    const std::optional<Tensor> start = state(h0, "h0", kType<T>, batch, hidden);
    const std::optional<Tensor> of_end = state(dh_n, "dh_n", kType<T>, batch, hidden);
    const std::optional<Tensor> leak = vector(rate, "rate", kType<T>, hidden);
    const Tensor length = lengths<T>(dt, steps, batch);
    Tensor dx = empty(states, {wants_x ? steps : 0, batch, hidden});
    Tensor dh0 = empty(links, {start ? batch : 0, hidden});
    Tensor ddt = empty(links, {wants_dt ? steps : 0, batch});
    Tensor drate = empty(links, {leak ? hidden : 0});
    Tensor dvalues = empty(links, {wants_values ? nnz : 0});
    if (states.numel() == 0) {
      for (Tensor* t : {&dh0, &ddt, &drate, &dvalues}) torch::stable::zero_(*t);
      return Gradients(dx, dh0, ddt, drate, dvalues);
    }
    const Links w = pattern.links(), wt = pattern.transposed();
    kernels.ctrnn_backward({w.csr(),
                            wt.csr(),
                            pattern.order(),
                            data<T>(links),
                            data<A>(input),
                            data_or_null<T>(start),
                            data<T>(length),
                            data_or_null<T>(leak),
                            data<A>(states),
                            data<A>(gradient),
                            data_or_null<T>(of_end),
                            wants_x ? mutable_data<A>(dx) : nullptr,
                            start ? mutable_data<T>(dh0) : nullptr,
                            wants_dt ? mutable_data<T>(ddt) : nullptr,
                            leak ? mutable_data<T>(drate) : nullptr,
                            wants_values ? mutable_data<T>(dvalues) : nullptr,
                            method,
                            steps,
                            batch,
                            threads()});
    return Gradients(dx, dh0, ddt, drate, dvalues);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "ctrnn_forward(Tensor x, Tensor? h0, Tensor dt, Tensor? rate, Tensor values, Tensor crow, "
      "Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, float[] nodes, float[] "
      "weights, int unfolds, float? clip) -> (Tensor, Tensor)");
  m.def(
      "ctrnn_backward(Tensor dh, Tensor? dh_n, Tensor h, Tensor x, Tensor? h0, Tensor dt, Tensor? "
      "rate, Tensor values, Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor "
      "permutation, float[] nodes, float[] weights, int unfolds, float? clip, bool wants_x, bool "
      "wants_dt, bool wants_values) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  SPARSE_ENGINE_IMPL(m, "ctrnn_forward", ctrnn_forward);
  SPARSE_ENGINE_IMPL(m, "ctrnn_backward", ctrnn_backward);
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("ctrnn_forward", SPARSE_ENGINE_CUDA_BOX(&ctrnn_forward));
  m.impl("ctrnn_backward", SPARSE_ENGINE_CUDA_BOX(&ctrnn_backward));
}

}  // namespace sparse_engine::bindings
