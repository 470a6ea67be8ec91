// rnn_forward and rnn_backward.
#include <tuple>

#include "activation.h"
#include "pattern.h"
#include "sequence.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine::bindings {
namespace {

void check_square(const Pattern& w) {
  if (w.rows() != w.cols())
    fail("expected a square recurrent weight, found ", w.rows(), " x ", w.cols());
}

Tensor rnn_forward(const Tensor& x, const std::optional<Tensor>& w_input,
                   const std::optional<Tensor>& h0, const std::optional<Tensor>& bias,
                   const Tensor& values, const Tensor& crow, const Tensor& col,
                   const Tensor& t_crow, const Tensor& t_col, const Tensor& permutation,
                   const std::optional<Tensor>& batch_sizes, int64_t activation) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  check_square(pattern);
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t hidden = pattern.rows();
    const Tensor links = vector(values, "values", kType<T>, pattern.nnz());
    const std::optional<Tensor> offset = vector(bias, "bias", kType<T>, hidden);
    const std::optional<Tensor> weight = input_weight(w_input, kType<T>, hidden);
    const int64_t inputs = weight ? weight->size(1) : hidden;
    const Layout layout(x, "x", batch_sizes, inputs);
    const Tensor input = layout(x, "x", kType<A>, inputs);
    const std::optional<Tensor> start = state(h0, "h0", kType<A>, layout.batch, hidden);
    Tensor h = empty(input, layout.shape(hidden));
    if (h.numel() == 0) return h;
    const Links w = pattern.links(Check::kPointers);
    bool out_of_range = false;
    kernels.rnn_forward({w.csr(), data<T>(links), data_or_null<T>(offset), data<A>(input),
                         data_or_null<T>(weight), data_or_null<A>(start), mutable_data<A>(h),
                         layout.first_row(), layout.steps, layout.batch, inputs,
                         activation_of(activation), threads(), &out_of_range});
    if (out_of_range) pattern.fail_of_range();
    return h;
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

// With x, the gradient of the dense input weights is wanted. What is not wanted comes back empty.
Gradients rnn_backward(const Tensor& dh, const Tensor& h, const std::optional<Tensor>& x,
                       const std::optional<Tensor>& h0, const Tensor& values, const Tensor& crow,
                       const Tensor& col, const Tensor& t_crow, const Tensor& t_col,
                       const Tensor& permutation, const std::optional<Tensor>& batch_sizes,
                       int64_t activation, bool wants_dz, bool wants_values) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  check_square(pattern);
  return with_activations(values, h, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t hidden = pattern.rows(), nnz = pattern.nnz();
    const Tensor links = vector(values, "values", kType<T>, nnz);
    const Layout layout(h, "h", batch_sizes, hidden);
    const Tensor states = layout(h, "h", kType<A>, hidden);
    const Tensor gradient = layout(dh, "dh", kType<A>, hidden);
    const std::optional<Tensor> input = layout.input(x, kType<A>);
    const int64_t inputs = input ? input->size(input->dim() - 1) : 0;
    const std::optional<Tensor> start = state(h0, "h0", kType<A>, layout.batch, hidden);
    Tensor dz = empty(states, layout.shape(hidden, wants_dz));
    Tensor dw_input = empty(links, {input ? hidden : 0, inputs});
    Tensor dh0 = empty(states, {start ? layout.batch : 0, hidden});
    Tensor dbias = empty(links, {hidden});
    Tensor dvalues = empty(links, {wants_values ? nnz : 0});
    if (states.numel() == 0) {
      for (Tensor* t : {&dw_input, &dh0, &dbias, &dvalues}) torch::stable::zero_(*t);
      return Gradients(dz, dw_input, dh0, dbias, dvalues);
    }
    const Links w = pattern.links(), wt = pattern.transposed();
    kernels.rnn_backward(
        {w.csr(), wt.csr(), pattern.order(), data<T>(links), data_or_null<A>(start),
         data<A>(states), data<A>(gradient), data_or_null<A>(input),
         wants_dz ? mutable_data<A>(dz) : nullptr, input ? mutable_data<T>(dw_input) : nullptr,
         mutable_data<T>(dbias), start ? mutable_data<A>(dh0) : nullptr,
         wants_values ? mutable_data<T>(dvalues) : nullptr, layout.first_row(), layout.steps,
         layout.batch, inputs, activation_of(activation), threads()});
    return Gradients(dz, dw_input, dh0, dbias, dvalues);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "rnn_forward(Tensor x, Tensor? w_input, Tensor? h0, Tensor? bias, Tensor values, Tensor "
      "crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, Tensor? batch_sizes, int "
      "activation) -> Tensor");
  m.def(
      "rnn_backward(Tensor dh, Tensor h, Tensor? x, Tensor? h0, Tensor values, Tensor crow, "
      "Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, Tensor? batch_sizes, int "
      "activation, bool wants_dz, bool wants_values) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  SPARSE_ENGINE_IMPL(m, "rnn_forward", rnn_forward);
  SPARSE_ENGINE_IMPL(m, "rnn_backward", rnn_backward);
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("rnn_forward", SPARSE_ENGINE_CUDA_BOX(&rnn_forward));
  m.impl("rnn_backward", SPARSE_ENGINE_CUDA_BOX(&rnn_backward));
}

}  // namespace sparse_engine::bindings
