// rnn_forward and rnn_backward.
#include <tuple>

#include "pattern.h"
#include "sequence.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine::bindings {
namespace {

Activation activation_of(int64_t code) {
  if (code != 0 && code != 1) fail("expected activation 0 (tanh) or 1 (relu), found ", code);
  return code == 0 ? Activation::kTanh : Activation::kRelu;
}

void check_square(const Csr& w) {
  if (w.rows != w.cols) fail("expected a square recurrent weight, found ", w.rows, " x ", w.cols);
}

Tensor rnn_forward(const Tensor& x, const std::optional<Tensor>& w_input,
                   const std::optional<Tensor>& h0, const std::optional<Tensor>& bias,
                   const Tensor& values, const Tensor& crow, const Tensor& col,
                   const Tensor& t_crow, const Tensor& t_col, const Tensor& permutation,
                   int64_t activation) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  check_square(pattern.w);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    const int64_t hidden = pattern.w.rows;
    const Tensor links = vector(values, "values", kType<T>, pattern.w.nnz());
    const std::optional<Tensor> offset = vector(bias, "bias", kType<T>, hidden);
    std::optional<Tensor> weight;
    if (w_input) {
      check_type(*w_input, "w_input", kType<T>);
      if (w_input->dim() != 2 || w_input->size(0) != hidden)
        fail("expected w_input of shape [", hidden, ", inputs], found ", shape_of(*w_input));
      weight = torch::stable::contiguous(*w_input);
    }
    const int64_t inputs = weight ? weight->size(1) : hidden;
    const Tensor input = sequence(x, "x", kType<T>, inputs);
    const int64_t steps = input.size(0), batch = input.size(1);
    const std::optional<Tensor> start = state(h0, "h0", kType<T>, batch, hidden);
    Tensor h = empty(input, {steps, batch, hidden});
    if (h.numel() == 0) return h;
    kernels<T>().rnn_forward({pattern.w, data<T>(links), data_or_null<T>(offset), data<T>(input),
                              data_or_null<T>(weight), data_or_null<T>(start), mutable_data<T>(h),
                              steps, batch, inputs, activation_of(activation), threads()});
    return h;
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

// With x, the gradient of the dense input weights is wanted. What is not wanted comes back empty.
Gradients rnn_backward(const Tensor& dh, const Tensor& h, const std::optional<Tensor>& x,
                       const std::optional<Tensor>& h0, const Tensor& values, const Tensor& crow,
                       const Tensor& col, const Tensor& t_crow, const Tensor& t_col,
                       const Tensor& permutation, int64_t activation, bool wants_dz,
                       bool wants_values) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  check_square(pattern.w);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    const int64_t hidden = pattern.w.rows, nnz = pattern.w.nnz();
    const Tensor links = vector(values, "values", kType<T>, nnz);
    const Tensor states = sequence(h, "h", kType<T>, hidden);
    const Tensor gradient = sequence(dh, "dh", kType<T>, hidden);
    const int64_t steps = states.size(0), batch = states.size(1);
    check_shape(gradient, "dh", {steps, batch, hidden});
    const int64_t inputs = x && x->dim() == 3 ? x->size(2) : 0;
    std::optional<Tensor> input;
    if (x) {
      input = sequence(*x, "x", kType<T>, inputs);
      check_shape(*input, "x", {steps, batch, inputs});
    }
    const std::optional<Tensor> start = state(h0, "h0", kType<T>, batch, hidden);
    Tensor dz = empty(states, {wants_dz ? steps : 0, batch, hidden});
    Tensor dw_input = empty(states, {input ? hidden : 0, inputs});
    Tensor dh0 = empty(states, {start ? batch : 0, hidden});
    Tensor dbias = empty(states, {hidden});
    Tensor dvalues = empty(states, {wants_values ? nnz : 0});
    if (states.numel() == 0) {
      for (Tensor* t : {&dw_input, &dh0, &dbias, &dvalues}) torch::stable::zero_(*t);
      return Gradients(dz, dw_input, dh0, dbias, dvalues);
    }
    kernels<T>().rnn_backward({pattern.w, pattern.wt, pattern.permutation, data<T>(links),
                               data_or_null<T>(start), data<T>(states), data<T>(gradient),
                               data_or_null<T>(input), wants_dz ? mutable_data<T>(dz) : nullptr,
                               input ? mutable_data<T>(dw_input) : nullptr, mutable_data<T>(dbias),
                               start ? mutable_data<T>(dh0) : nullptr,
                               wants_values ? mutable_data<T>(dvalues) : nullptr, steps, batch,
                               inputs, activation_of(activation), threads()});
    return Gradients(dz, dw_input, dh0, dbias, dvalues);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "rnn_forward(Tensor x, Tensor? w_input, Tensor? h0, Tensor? bias, Tensor values, Tensor "
      "crow, "
      "Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, int activation) -> Tensor");
  m.def(
      "rnn_backward(Tensor dh, Tensor h, Tensor? x, Tensor? h0, Tensor values, Tensor crow, "
      "Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, int activation, bool wants_dz, "
      "bool wants_values) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  m.impl("rnn_forward", TORCH_BOX(&rnn_forward));
  m.impl("rnn_backward", TORCH_BOX(&rnn_backward));
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("rnn_forward", SPARSE_ENGINE_CUDA_BOX(&rnn_forward));
  m.impl("rnn_backward", SPARSE_ENGINE_CUDA_BOX(&rnn_backward));
}

}  // namespace sparse_engine::bindings
