// lstm_forward, lstm_backward, gru_forward and gru_backward.
#include <tuple>

#include "pattern.h"
#include "sequence.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine::bindings {
namespace {

void check_gates(const Csr& w, int64_t gates) {
  if (w.rows != gates * w.cols)
    fail("expected a recurrent weight of ", gates, " gates, ", gates * w.cols, " x ", w.cols,
         ", found ", w.rows, " x ", w.cols);
}

void check_both(const std::optional<Tensor>& h0, const std::optional<Tensor>& c0) {
  if (h0.has_value() != c0.has_value()) fail("expected both h0 and c0 or neither, found one");
}

template <typename T>
T* mutable_data_or_null(std::optional<Tensor>& t) {
  return t ? mutable_data<T>(*t) : nullptr;
}

template <typename T>
using Forward = void (*Kernels<T>::*)(const GatedForward<T>&);
template <typename T>
using Backward = void (*Kernels<T>::*)(const GatedBackward<T>&);

// The initial state of a layer; the GRU has no c.
struct Initial {
  const std::optional<Tensor>&h, &c;
};

struct States {
  Tensor h, c_n, c, saved;
};

// What backward needs comes back without steps where it is not to be kept.
template <typename T>
States forward(Forward<T> kernel, int64_t gates, bool has_memory, const Tensor& x,
               const Initial& initial, const std::optional<Tensor>& bias, const Tensor& values,
               const Pattern& pattern, bool keep) {
  check_gates(pattern.w, gates);
  const int64_t hidden = pattern.w.cols;
  const Tensor links = vector(values, "values", kType<T>, pattern.w.nnz());
  const std::optional<Tensor> offset = vector(bias, "bias", kType<T>, gates * hidden);
  const Tensor input = sequence(x, "x", kType<T>, gates * hidden);
  const int64_t steps = input.size(0), batch = input.size(1), kept = keep ? steps : 0;
  if (steps == 0) fail("expected x of at least one time step, found none");
  const std::optional<Tensor> h0 = state(initial.h, "h0", kType<T>, batch, hidden);
  const std::optional<Tensor> c0 = state(initial.c, "c0", kType<T>, batch, hidden);
  States to{empty(input, {steps, batch, hidden}), empty(input, {has_memory ? batch : 0, hidden}),
            empty(input, {has_memory ? kept : 0, batch, hidden}),
            empty(input, {kept, batch, kSavedPerUnit * hidden})};
  if (to.h.numel() == 0) {
    torch::stable::zero_(to.c_n);
    return to;
  }
  (kernels<T>().*kernel)({pattern.w, data<T>(links), data_or_null<T>(offset), data<T>(input),
                          data_or_null<T>(h0), data_or_null<T>(c0), mutable_data<T>(to.h),
                          has_memory && keep ? mutable_data<T>(to.c) : nullptr,
                          has_memory ? mutable_data<T>(to.c_n) : nullptr,
                          keep ? mutable_data<T>(to.saved) : nullptr, steps, batch, threads()});
  return to;
}

struct Gradients {
  Tensor x, h0, c0, bias, values;
};

// What is not wanted comes back empty.
template <typename T>
Gradients backward(Backward<T> kernel, int64_t gates, const Tensor& dh,
                   const std::optional<Tensor>& dc_n, const Tensor& h,
                   const std::optional<Tensor>& c, const Tensor& saved, const Initial& initial,
                   const Tensor& values, const Pattern& pattern, bool wants_x, bool wants_values) {
  check_gates(pattern.w, gates);
  const int64_t hidden = pattern.w.cols, nnz = pattern.w.nnz();
  const Tensor links = vector(values, "values", kType<T>, nnz);
  const Tensor states = sequence(h, "h", kType<T>, hidden);
  const Tensor gradient = sequence(dh, "dh", kType<T>, hidden);
  const Tensor kept = sequence(saved, "saved", kType<T>, kSavedPerUnit * hidden);
  const int64_t steps = states.size(0), batch = states.size(1);
  check_shape(gradient, "dh", {steps, batch, hidden});
  check_shape(kept, "saved", {steps, batch, kSavedPerUnit * hidden});
  std::optional<Tensor> memory;
  if (c) {
    memory = sequence(*c, "c", kType<T>, hidden);
    check_shape(*memory, "c", {steps, batch, hidden});
  }
  const std::optional<Tensor> last = state(dc_n, "dc_n", kType<T>, batch, hidden);
  const std::optional<Tensor> h0 = state(initial.h, "h0", kType<T>, batch, hidden);
  const std::optional<Tensor> c0 = state(initial.c, "c0", kType<T>, batch, hidden);
  Gradients to{empty(states, {wants_x ? steps : 0, batch, gates * hidden}),
               empty(states, {h0 ? batch : 0, hidden}), empty(states, {c0 ? batch : 0, hidden}),
               empty(states, {gates * hidden}), empty(states, {wants_values ? nnz : 0})};
  if (states.numel() == 0) {
    for (Tensor* t : {&to.h0, &to.c0, &to.bias, &to.values}) torch::stable::zero_(*t);
    return to;
  }
  (kernels<T>().*
   kernel)({pattern.w, pattern.wt, pattern.permutation, data<T>(links), data_or_null<T>(h0),
            data_or_null<T>(c0), data<T>(states), data_or_null<T>(memory), data<T>(kept),
            data<T>(gradient), data_or_null<T>(last), wants_x ? mutable_data<T>(to.x) : nullptr,
            mutable_data<T>(to.bias), h0 ? mutable_data<T>(to.h0) : nullptr,
            c0 ? mutable_data<T>(to.c0) : nullptr,
            wants_values ? mutable_data<T>(to.values) : nullptr, steps, batch, threads()});
  return to;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> lstm_forward(
    const Tensor& x, const std::optional<Tensor>& h0, const std::optional<Tensor>& c0,
    const std::optional<Tensor>& bias, const Tensor& values, const Tensor& crow, const Tensor& col,
    const Tensor& t_crow, const Tensor& t_col, const Tensor& permutation, bool keep) {
  check_both(h0, c0);
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    States to =
        forward<T>(&Kernels<T>::lstm_forward, 4, true, x, {h0, c0}, bias, values, pattern, keep);
    return std::tuple(to.h, to.c_n, to.c, to.saved);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> lstm_backward(
    const Tensor& dh, const std::optional<Tensor>& dc_n, const Tensor& h, const Tensor& c,
    const Tensor& saved, const std::optional<Tensor>& h0, const std::optional<Tensor>& c0,
    const Tensor& values, const Tensor& crow, const Tensor& col, const Tensor& t_crow,
    const Tensor& t_col, const Tensor& permutation, bool wants_x, bool wants_values) {
  check_both(h0, c0);
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    Gradients to = backward<T>(&Kernels<T>::lstm_backward, 4, dh, dc_n, h, c, saved, {h0, c0},
                               values, pattern, wants_x, wants_values);
    return std::tuple(to.x, to.h0, to.c0, to.bias, to.values);
  });
}

std::tuple<Tensor, Tensor> gru_forward(const Tensor& x, const std::optional<Tensor>& h0,
                                       const std::optional<Tensor>& bias, const Tensor& values,
                                       const Tensor& crow, const Tensor& col, const Tensor& t_crow,
                                       const Tensor& t_col, const Tensor& permutation, bool keep) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    States to = forward<T>(&Kernels<T>::gru_forward, 3, false, x, {h0, std::nullopt}, bias, values,
                           pattern, keep);
    return std::tuple(to.h, to.saved);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor> gru_backward(
    const Tensor& dh, const Tensor& h, const Tensor& saved, const std::optional<Tensor>& h0,
    const Tensor& values, const Tensor& crow, const Tensor& col, const Tensor& t_crow,
    const Tensor& t_col, const Tensor& permutation, bool wants_x, bool wants_values) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    Gradients to = backward<T>(&Kernels<T>::gru_backward, 3, dh, std::nullopt, h, std::nullopt,
                               saved, {h0, std::nullopt}, values, pattern, wants_x, wants_values);
    return std::tuple(to.x, to.h0, to.bias, to.values);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "lstm_forward(Tensor x, Tensor? h0, Tensor? c0, Tensor? bias, Tensor values, Tensor crow, "
      "Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, bool keep) -> (Tensor, Tensor, "
      "Tensor, Tensor)");
  m.def(
      "lstm_backward(Tensor dh, Tensor? dc_n, Tensor h, Tensor c, Tensor saved, Tensor? h0, "
      "Tensor? c0, Tensor values, Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor "
      "permutation, bool wants_x, bool wants_values) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "gru_forward(Tensor x, Tensor? h0, Tensor? bias, Tensor values, Tensor crow, Tensor col, "
      "Tensor t_crow, Tensor t_col, Tensor permutation, bool keep) -> (Tensor, Tensor)");
  m.def(
      "gru_backward(Tensor dh, Tensor h, Tensor saved, Tensor? h0, Tensor values, Tensor crow, "
      "Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, bool wants_x, bool "
      "wants_values) -> (Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  m.impl("lstm_forward", TORCH_BOX(&lstm_forward));
  m.impl("lstm_backward", TORCH_BOX(&lstm_backward));
  m.impl("gru_forward", TORCH_BOX(&gru_forward));
  m.impl("gru_backward", TORCH_BOX(&gru_backward));
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("lstm_forward", SPARSE_ENGINE_CUDA_BOX(&lstm_forward));
  m.impl("lstm_backward", SPARSE_ENGINE_CUDA_BOX(&lstm_backward));
  m.impl("gru_forward", SPARSE_ENGINE_CUDA_BOX(&gru_forward));
  m.impl("gru_backward", SPARSE_ENGINE_CUDA_BOX(&gru_backward));
}

}  // namespace sparse_engine::bindings
