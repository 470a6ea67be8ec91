// The forward and the backward operation of a cell in continuous time: ctrnn_forward, ... This file
// is compiled once for each of them, see cells/compiled_cell.h.
#include <cmath>
#include <tuple>

#include "cells/compiled_cell.h"
#include "sequence.h"
#include "sparse_engine/cuda.h"

namespace sparse_engine::bindings {
namespace {

using Cell = SPARSE_ENGINE_CELL_CLASS;

Activation activation_of(int64_t code) {
  if (code < 0 || code >= Cell::kActivations)
    fail("expected activation in [0, ", Cell::kActivations, "), found ", code);
  return static_cast<Activation>(code);
}

RungeKutta method_of(const Pattern& pattern, const std::vector<double>& nodes,
                     const std::vector<double>& weights, int64_t unfolds, double clip) {
  check_square(pattern);
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

// h, and the state after its last step, which is not wanted where no state is rounded: h has it.
std::tuple<Tensor, Tensor> forward(const Tensor& x, const Optional& h0, const Tensor& dt,
                                   const Optional& rate, const Tensor& values, const Tensors& links,
                                   std::vector<double> nodes, std::vector<double> weights,
                                   int64_t unfolds, std::optional<double> clip, int64_t activation,
                                   const Optional& resets) {
  const Pattern pattern(links);
  const RungeKutta method = method_of(pattern, nodes, weights, unfolds, bound(clip));
  const Activation function = activation_of(activation);
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    check_kernel(kernels.SPARSE_ENGINE_OF_CELL(forward));
    constexpr bool rounds = !std::is_same_v<T, A>;
    const int64_t hidden = pattern.rows();
    const Tensor own = vector(values, "values", kType<T>, pattern.nnz());
    const Layout layout(x, "x", std::nullopt, hidden);
    const Tensor input = layout(x, "x", kType<A>, hidden);
    const int64_t steps = layout.steps, batch = layout.batch;
    const Optional start = state(h0, "h0", kType<T>, batch, hidden);
    const Optional leak = vector(rate, "rate", kType<T>, hidden);
    const Tensor length = lengths<T>(dt, steps, batch);
    const Optional begins = resets_of(resets, steps, batch);
    if (steps == 0) fail("expected x of at least one time step, found none");
    Result<A> h(own, layout.shape(hidden));
    Result<T> h_n(own, {batch, hidden}, rounds);
    if (h.tensor().numel() > 0) {
      const Links w = pattern.links();
      kernels.SPARSE_ENGINE_OF_CELL(forward)(
          {w.csr(), data<T>(own), data<A>(input), data_or_null<T>(start), data<T>(length),
           data_or_null<T>(leak), h.data(), h_n.data(), method, function, steps, batch, threads(),
           data_or_null<bool>(begins)});
    }
    return std::tuple(h.tensor(), h_n.tensor());
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

Gradients backward(const Tensor& dh, const Optional& dh_n, const Tensor& h, const Tensor& x,
                   const Optional& h0, const Tensor& dt, const Optional& rate, const Tensor& values,
                   const Tensors& links, std::vector<double> nodes, std::vector<double> weights,
                   int64_t unfolds, std::optional<double> clip, int64_t activation, bool wants_x,
                   bool wants_dt, bool wants_values, const Optional& resets) {
  const Pattern pattern(links);
  const RungeKutta method = method_of(pattern, nodes, weights, unfolds, bound(clip));
  const Activation function = activation_of(activation);
  return with_activations(values, h, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    check_kernel(kernels.SPARSE_ENGINE_OF_CELL(backward));
    const int64_t hidden = pattern.rows(), nnz = pattern.nnz();
    const Tensor own = vector(values, "values", kType<T>, nnz);
    const Layout layout(h, "h", std::nullopt, hidden);
    const int64_t steps = layout.steps, batch = layout.batch;
    const Tensor states = layout(h, "h", kType<A>, hidden);
    const Tensor gradient = layout(dh, "dh", kType<A>, hidden);
    const Tensor input = layout(x, "x", kType<A>, hidden);
    const Optional start = state(h0, "h0", kType<T>, batch, hidden);
    const Optional of_end = state(dh_n, "dh_n", kType<T>, batch, hidden);
    const Optional leak = vector(rate, "rate", kType<T>, hidden);
    const Tensor length = lengths<T>(dt, steps, batch);
    const Optional begins = resets_of(resets, steps, batch);
    Result<A> dx(own, layout.shape(hidden), wants_x);
    Result<T> dh0(own, {batch, hidden}, !!start), ddt(own, {steps, batch}, wants_dt);
    Result<T> drate(own, {hidden}, !!leak), dvalues(own, {nnz}, wants_values);
    if (states.numel() > 0) {
      const Links w = pattern.links(), wt = pattern.transposed();
      kernels.SPARSE_ENGINE_OF_CELL(backward)({w.csr(),
                                               wt.csr(),
                                               pattern.order(),
                                               data<T>(own),
                                               data<A>(input),
                                               data_or_null<T>(start),
                                               data<T>(length),
                                               data_or_null<T>(leak),
                                               data<A>(states),
                                               data<A>(gradient),
                                               data_or_null<T>(of_end),
                                               dx.data(),
                                               dh0.data(),
                                               ddt.data(),
                                               drate.data(),
                                               dvalues.data(),
                                               method,
                                               function,
                                               steps,
                                               batch,
                                               threads(),
                                               data_or_null<bool>(begins)});
    } else {
      clear(dh0, ddt, drate, dvalues);
    }
    return Gradients(dx.tensor(), dh0.tensor(), ddt.tensor(), drate.tensor(), dvalues.tensor());
  });
}

}  // namespace

SPARSE_ENGINE_OPERATION(SPARSE_ENGINE_TEXT(SPARSE_ENGINE_OF_CELL(forward)), forward,
                        "(Tensor x, Tensor? h0, Tensor dt, Tensor? rate, Tensor values, "
                        "Tensor[] pattern, float[] nodes, float[] weights, int unfolds, "
                        "float? clip, int activation, Tensor? resets=None) -> "
                        "(Tensor h, Tensor h_n)")
SPARSE_ENGINE_OPERATION(
    SPARSE_ENGINE_TEXT(SPARSE_ENGINE_OF_CELL(backward)), backward,
    "(Tensor dh, Tensor? dh_n, Tensor h, Tensor x, Tensor? h0, Tensor dt, "
    "Tensor? rate, Tensor values, Tensor[] pattern, float[] nodes, "
    "float[] weights, int unfolds, float? clip, int activation, bool wants_x, bool wants_dt, "
    "bool wants_values, Tensor? resets=None) -> "
    "(Tensor dx, Tensor dh0, Tensor ddt, Tensor drate, Tensor dvalues)")

}  // namespace sparse_engine::bindings
