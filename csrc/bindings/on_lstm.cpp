// on_lstm_forward and on_lstm_backward.
#include <tuple>

#include "pattern.h"
#include "sequence.h"
#include "sparse_engine/kernels.h"

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

// The initial state of a layer.
struct Initial {
  std::optional<Tensor> h, c;

  Initial(const std::optional<Tensor>& h0, ScalarType type_of_h, const std::optional<Tensor>& c0,
          ScalarType type_of_c, int64_t batch, int64_t hidden)
      : h(state(h0, "h0", type_of_h, batch, hidden)), c(state(c0, "c0", type_of_c, batch, hidden)) {
    if (h.has_value() != c.has_value()) fail("expected both h0 and c0 or neither, found one");
  }
};

// What backward needs comes back without steps where it is not to be kept.
std::tuple<Tensor, Tensor, Tensor, Tensor> on_lstm_forward(
    const Tensor& x, const std::optional<Tensor>& h0, const std::optional<Tensor>& c0,
    const std::optional<Tensor>& bias, const Tensor& values, const Tensor& crow, const Tensor& col,
    const Tensor& t_crow, const Tensor& t_col, const Tensor& permutation, bool keep) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  const int64_t chunks = chunks_of(pattern);
  return with_activations(values, x, [&](auto real, auto narrow, const auto& kernels) {
    check_kernel(kernels.on_lstm_forward);
    using T = decltype(real);
    using A = decltype(narrow);
    const int64_t hidden = pattern.cols(), rows = pattern.rows();
    const Tensor links = vector(values, "values", kType<T>, pattern.nnz());
    const std::optional<Tensor> offset = vector(bias, "bias", kType<T>, rows);
    const Tensor input = sequence(x, "x", kType<A>, rows);
    const int64_t steps = input.size(0), batch = input.size(1), kept = keep ? steps : 0;
    if (steps == 0) fail("expected x of at least one time step, found none");
    const Initial initial(h0, kType<A>, c0, kType<T>, batch, hidden);
    Tensor h = empty(input, {steps, batch, hidden}), c_n = empty(links, {batch, hidden});
    Tensor c = empty(input, {kept, batch, hidden}), saved = empty(input, {kept, batch, rows});
    if (h.numel() > 0) {
      const Links w = pattern.links();
      kernels.on_lstm_forward({w.csr(), chunks, data<T>(links), data_or_null<T>(offset),
                               data<A>(input), data_or_null<A>(initial.h),
                               data_or_null<T>(initial.c), mutable_data<A>(h),
                               keep ? mutable_data<A>(c) : nullptr, mutable_data<T>(c_n),
                               keep ? mutable_data<A>(saved) : nullptr, steps, batch, threads()});
    }
    return std::tuple(h, c_n, c, saved);
  });
}

// What is not wanted comes back empty.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> on_lstm_backward(
    const Tensor& dh, const std::optional<Tensor>& dc_n, const Tensor& h, const Tensor& c,
    const Tensor& saved, const std::optional<Tensor>& h0, const std::optional<Tensor>& c0,
    const Tensor& values, const Tensor& crow, const Tensor& col, const Tensor& t_crow,
    const Tensor& t_col, const Tensor& permutation, bool wants_x, bool wants_values) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  const int64_t chunks = chunks_of(pattern);
  return with_activations(values, h, [&](auto real, auto narrow, const auto& kernels) {
    check_kernel(kernels.on_lstm_backward);
    using T = decltype(real);
    using A = decltype(narrow);
    const int64_t hidden = pattern.cols(), rows = pattern.rows(), nnz = pattern.nnz();
    const Tensor links = vector(values, "values", kType<T>, nnz);
    const Tensor states = sequence(h, "h", kType<A>, hidden);
    const Tensor memory = sequence(c, "c", kType<A>, hidden);
    const Tensor kept = sequence(saved, "saved", kType<A>, rows);
    const Tensor gradient = sequence(dh, "dh", kType<A>, hidden);
    const int64_t steps = states.size(0), batch = states.size(1);
    check_shape(memory, "c", {steps, batch, hidden});
    check_shape(kept, "saved", {steps, batch, rows});
    check_shape(gradient, "dh", {steps, batch, hidden});
    const std::optional<Tensor> last = state(dc_n, "dc_n", kType<T>, batch, hidden);
    const Initial initial(h0, kType<A>, c0, kType<T>, batch, hidden);
    const int64_t starts = initial.h ? batch : 0;
    Tensor dx = empty(states, {wants_x ? steps : 0, batch, rows});
    Tensor dh0 = empty(states, {starts, hidden}), dc0 = empty(links, {starts, hidden});
    Tensor dbias = empty(links, {rows}), dvalues = empty(links, {wants_values ? nnz : 0});
    if (states.numel() == 0) {
      for (Tensor* t : {&dh0, &dc0, &dbias, &dvalues}) torch::stable::zero_(*t);
      return std::tuple(dx, dh0, dc0, dbias, dvalues);
    }
    const Links w = pattern.links(), wt = pattern.transposed();
    kernels.on_lstm_backward({w.csr(),
                              wt.csr(),
                              pattern.order(),
                              chunks,
                              data<T>(links),
                              data_or_null<A>(initial.h),
                              data_or_null<T>(initial.c),
                              data<A>(states),
                              data<A>(memory),
                              data<A>(kept),
                              data<A>(gradient),
                              data_or_null<T>(last),
                              wants_x ? mutable_data<A>(dx) : nullptr,
                              mutable_data<T>(dbias),
                              initial.h ? mutable_data<A>(dh0) : nullptr,
                              initial.c ? mutable_data<T>(dc0) : nullptr,
                              wants_values ? mutable_data<T>(dvalues) : nullptr,
                              steps,
                              batch,
                              threads()});
    return std::tuple(dx, dh0, dc0, dbias, dvalues);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "on_lstm_forward(Tensor x, Tensor? h0, Tensor? c0, Tensor? bias, Tensor values, Tensor crow, "
      "Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, bool keep) -> (Tensor, Tensor, "
      "Tensor, Tensor)");
  m.def(
      "on_lstm_backward(Tensor dh, Tensor? dc_n, Tensor h, Tensor c, Tensor saved, Tensor? h0, "
      "Tensor? c0, Tensor values, Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor "
      "permutation, bool wants_x, bool wants_values) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  SPARSE_ENGINE_IMPL(m, "on_lstm_forward", on_lstm_forward);
  SPARSE_ENGINE_IMPL(m, "on_lstm_backward", on_lstm_backward);
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("on_lstm_forward", SPARSE_ENGINE_CUDA_BOX(&on_lstm_forward));
  m.impl("on_lstm_backward", SPARSE_ENGINE_CUDA_BOX(&on_lstm_backward));
}

}  // namespace sparse_engine::bindings
