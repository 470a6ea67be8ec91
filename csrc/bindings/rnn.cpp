// rnn_forward, rnn_backward and rnn_step.
#include <tuple>

#include "activation.h"
#include "step.h"

namespace sparse_engine::bindings {
namespace {

Tensor forward(const Tensor& x, const Optional& w_input, const Optional& h0, const Optional& bias,
               const Tensor& values, const Tensors& links, const Optional& batch_sizes,
               int64_t activation, const Optional& resets) {
  const Pattern pattern(links);
  check_square(pattern);
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t hidden = pattern.rows();
    const Tensor weights = vector(values, "values", kType<T>, pattern.nnz());
    const Optional offset = vector(bias, "bias", kType<T>, hidden);
    const Optional dense = input_weight(w_input, kType<T>, hidden);
    const int64_t inputs = dense ? dense->size(1) : hidden;
    const Layout layout(x, "x", batch_sizes, inputs);
    const Tensor input = layout(x, "x", kType<A>, inputs);
    const Optional start = state(h0, "h0", kType<A>, layout.batch, hidden);
    const Optional begins = resets_of(resets, layout.steps, layout.batch, batch_sizes);
    Tensor h = empty(input, layout.shape(hidden));
    if (h.numel() == 0) return h;
    const Links w = pattern.links(Check::kPointers);
    bool out_of_range = false;
    kernels.rnn_forward(
        {w.csr(), data<T>(weights), data_or_null<T>(offset), data<A>(input), data_or_null<T>(dense),
         data_or_null<A>(start), mutable_data<A>(h), layout.first_row(), layout.steps, layout.batch,
         inputs, activation_of(activation), threads(), &out_of_range, data_or_null<bool>(begins)});
    if (out_of_range) pattern.fail_of_range();
    return h;
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

// With x, the gradient of the dense input weights is wanted.
Gradients backward(const Tensor& dh, const Tensor& h, const Optional& x, const Optional& h0,
                   const Tensor& values, const Tensors& links, const Optional& batch_sizes,
                   int64_t activation, bool wants_x, bool wants_values, const Optional& resets) {
  const Pattern pattern(links);
  check_square(pattern);
  return with_activations(values, h, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t hidden = pattern.rows(), nnz = pattern.nnz();
    const Tensor weights = vector(values, "values", kType<T>, nnz);
    const Layout layout(h, "h", batch_sizes, hidden);
    const Tensor states = layout(h, "h", kType<A>, hidden);
    const Tensor gradient = layout(dh, "dh", kType<A>, hidden);
    const Optional input = layout.input(x, kType<A>);
    const int64_t inputs = input ? input->size(input->dim() - 1) : 0;
    const Optional start = state(h0, "h0", kType<A>, layout.batch, hidden);
    const Optional begins = resets_of(resets, layout.steps, layout.batch, batch_sizes);
    Result<A> dv(weights, layout.shape(hidden), wants_x);
    Result<T> dw_input(weights, {hidden, inputs}, input.has_value());
    Result<A> dh0(weights, {layout.batch, hidden}, start.has_value());
    Result<T> dbias(weights, {hidden}), dvalues(weights, {nnz}, wants_values);
    if (states.numel() > 0) {
      const Links w = pattern.links(), wt = pattern.transposed();
      kernels.rnn_backward({w.csr(),
                            wt.csr(),
                            pattern.order(),
                            data<T>(weights),
                            data_or_null<A>(start),
                            data<A>(states),
                            data<A>(gradient),
                            data_or_null<A>(input),
                            dv.data(),
                            dw_input.data(),
                            dbias.data(),
                            dh0.data(),
                            dvalues.data(),
                            layout.first_row(),
                            layout.steps,
                            layout.batch,
                            inputs,
                            activation_of(activation),
                            threads(),
                            data_or_null<bool>(begins)});
    } else {
      clear(dw_input, dh0, dbias, dvalues);
    }
    return Gradients(dv.tensor(), dw_input.tensor(), dh0.tensor(), dbias.tensor(),
                     dvalues.tensor());
  });
}

Tensors step(const Tensor& x, const Tensors& before, const Tensors& parameters, int64_t layers,
             int64_t hidden, bool bias, int64_t activation) {
  const CellShape cell{1, 1, true};
  return network_step(x, before, parameters, layers, hidden, bias, cell, [&](const auto& layer) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(layer.x)>>;
    kernels<T>().rnn_forward({layer.w, layer.values, layer.bias, layer.x, layer.w_input,
                              layer.before[0], layer.now[0], nullptr, 1, layer.batch, layer.inputs,
                              activation_of(activation), layer.threads, layer.out_of_range});
  });
}

}  // namespace

SPARSE_ENGINE_CPU_OPERATION("rnn_step", step,
                            "(Tensor x, Tensor[] before, Tensor[] parameters, int layers, "
                            "int hidden, bool bias, int activation) -> Tensor[]")
SPARSE_ENGINE_OPERATION("rnn_forward", forward,
                        "(Tensor x, Tensor? w_input, Tensor? h0, Tensor? bias, Tensor values, "
                        "Tensor[] pattern, Tensor? batch_sizes, int activation, "
                        "Tensor? resets=None) -> Tensor h")
SPARSE_ENGINE_OPERATION("rnn_backward", backward,
                        "(Tensor dh, Tensor h, Tensor? x, Tensor? h0, Tensor values, "
                        "Tensor[] pattern, Tensor? batch_sizes, int activation, bool wants_x, "
                        "bool wants_values, Tensor? resets=None) -> "
                        "(Tensor dv, Tensor dw_input, Tensor dh0, Tensor dbias, Tensor dvalues)")

}  // namespace sparse_engine::bindings
