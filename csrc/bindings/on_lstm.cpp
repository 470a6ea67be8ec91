// on_lstm_forward and on_lstm_backward.
#include <tuple>

#include "sequence.h"

namespace sparse_engine::bindings {
namespace {

// The number of chunks that the shape of the weight tells.
int64_t chunks_of(const Pattern& w) {
  const int64_t hidden = w.cols(), masters = w.rows() - 4 * hidden, chunks = masters / 2;
  if (masters < 2 || masters % 2 != 0 || hidden % chunks != 0)
    fail("expected a recurrent weight of 2 * chunks + 4 * ", hidden, " rows x ", hidden,
         " with chunks that divide ", hidden, ", found ", w.rows(), " x ", w.cols());
  return chunks;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> forward(const Tensor& x, const Optional& h0,
                                                   const Optional& c0, const Optional& bias,
                                                   const Tensor& values, const Tensors& links,
                                                   bool keep, const Optional& resets) {
  const Pattern pattern(links);
  const int64_t chunks = chunks_of(pattern);
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    check_kernel(kernels.on_lstm_forward);
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t hidden = pattern.cols(), rows = pattern.rows();
    const Tensor weights = vector(values, "values", kType<T>, pattern.nnz());
    const Optional offset = vector(bias, "bias", kType<T>, rows);
    const Layout layout(x, "x", std::nullopt, rows);
    const Tensor input = layout(x, "x", kType<A>, rows);
    const int64_t steps = layout.steps, batch = layout.batch;
    if (steps == 0) fail("expected x of at least one time step, found none");
    const Optional first_h = state(h0, "h0", kType<A>, batch, hidden);
    const Optional first_c = state(c0, "c0", kType<T>, batch, hidden);
    check_both(h0, c0);
    const Optional begins = resets_of(resets, layout.steps, batch);
    Result<A> h(weights, layout.shape(hidden)), c(weights, layout.shape(hidden), keep);
    Result<A> saved(weights, layout.shape(rows), keep);
    Result<T> c_n(weights, {batch, hidden});
    if (h.tensor().numel() > 0) {
      const Links w = pattern.links();
      kernels.on_lstm_forward({w.csr(), chunks, data<T>(weights), data_or_null<T>(offset),
                               data<A>(input), data_or_null<A>(first_h), data_or_null<T>(first_c),
                               h.data(), c.data(), c_n.data(), saved.data(), steps, batch,
                               threads(), data_or_null<bool>(begins)});
    }
    return std::tuple(h.tensor(), c_n.tensor(), c.tensor(), saved.tensor());
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

Gradients backward(const Tensor& dh, const Optional& dc_n, const Tensor& h, const Tensor& c,
                   const Tensor& saved, const Optional& h0, const Optional& c0,
                   const Tensor& values, const Tensors& links, bool wants_x, bool wants_values,
                   const Optional& resets) {
  const Pattern pattern(links);
  const int64_t chunks = chunks_of(pattern);
  return with_activations(values, h, [&](auto real, auto kept, const auto& kernels) {
    check_kernel(kernels.on_lstm_backward);
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t hidden = pattern.cols(), rows = pattern.rows(), nnz = pattern.nnz();
    const Tensor weights = vector(values, "values", kType<T>, nnz);
    const Layout layout(h, "h", std::nullopt, hidden);
    const int64_t batch = layout.batch;
    const Tensor states = layout(h, "h", kType<A>, hidden);
    const Tensor memory = layout(c, "c", kType<A>, hidden);
    const Tensor gates = layout(saved, "saved", kType<A>, rows);
    const Tensor gradient = layout(dh, "dh", kType<A>, hidden);
    const Optional last = state(dc_n, "dc_n", kType<T>, batch, hidden);
    const Optional first_h = state(h0, "h0", kType<A>, batch, hidden);
    const Optional first_c = state(c0, "c0", kType<T>, batch, hidden);
    check_both(h0, c0);
    const Optional begins = resets_of(resets, layout.steps, batch);
    Result<A> dx(weights, layout.shape(rows), wants_x);
    Result<A> dh0(weights, {batch, hidden}, !!first_h);
    Result<T> dc0(weights, {batch, hidden}, !!first_c);
    Result<T> dbias(weights, {rows}), dvalues(weights, {nnz}, wants_values);
    if (states.numel() > 0) {
      const Links w = pattern.links(), wt = pattern.transposed();
      kernels.on_lstm_backward({w.csr(),
                                wt.csr(),
                                pattern.order(),
                                chunks,
                                data<T>(weights),
                                data_or_null<A>(first_h),
                                data_or_null<T>(first_c),
                                data<A>(states),
                                data<A>(memory),
                                data<A>(gates),
                                data<A>(gradient),
                                data_or_null<T>(last),
                                dx.data(),
                                dbias.data(),
                                dh0.data(),
                                dc0.data(),
                                dvalues.data(),
                                layout.steps,
                                batch,
                                threads(),
                                data_or_null<bool>(begins)});
    } else {
      clear(dh0, dc0, dbias, dvalues);
    }
    return Gradients(dx.tensor(), dh0.tensor(), dc0.tensor(), dbias.tensor(), dvalues.tensor());
  });
}

}  // namespace

SPARSE_ENGINE_OPERATION("on_lstm_forward", forward,
                        "(Tensor x, Tensor? h0, Tensor? c0, Tensor? bias, Tensor values, "
                        "Tensor[] pattern, bool keep, Tensor? resets=None) -> "
                        "(Tensor h, Tensor c_n, Tensor c, Tensor saved)")
SPARSE_ENGINE_OPERATION("on_lstm_backward", backward,
                        "(Tensor dh, Tensor? dc_n, Tensor h, Tensor c, Tensor saved, Tensor? h0, "
                        "Tensor? c0, Tensor values, Tensor[] pattern, bool wants_x, "
                        "bool wants_values, Tensor? resets=None) -> "
                        "(Tensor dx, Tensor dh0, Tensor dc0, Tensor dbias, Tensor dvalues)")

}  // namespace sparse_engine::bindings
