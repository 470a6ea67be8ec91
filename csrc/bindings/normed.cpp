// normed_rnn_forward, normed_rnn_backward, normed_lstm_forward and normed_lstm_backward.
#include <tuple>

#include "activation.h"
#include "pattern.h"
#include "sequence.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine::bindings {
namespace {

using Optional = std::optional<Tensor>;

// A cell's kernels, how many gates and saved numbers a unit has, and moments a column.
template <typename T>
struct Cell {
  void (*Kernels<T>::*forward)(const NormedForward<T>&);
  void (*Kernels<T>::*backward)(const NormedBackward<T>&);
  int64_t gates, saved, moments;
  bool has_memory;
};

template <typename T>
constexpr Cell<T> kRnn = {
    &Kernels<T>::normed_rnn_forward, &Kernels<T>::normed_rnn_backward, 1, 1, 1, false};
template <typename T>
constexpr Cell<T> kLstm = {
    &Kernels<T>::normed_lstm_forward, &Kernels<T>::normed_lstm_backward, 4, 5, 3, true};

// Hidden units of a layer whose recurrent weight is w.
int64_t hidden_of(const Pattern& w, int64_t gates) {
  if (w.rows() != gates * w.cols())
    fail("expected a recurrent weight of ", gates, gates == 1 ? " gate, " : " gates, ",
         gates * w.cols(), " x ", w.cols(), ", found ", w.rows(), " x ", w.cols());
  return w.cols();
}

// The parameters of a normalisation, checked and made contiguous.
struct Norm {
  Optional gain, bias;
  double eps = 0;

  Norm checked(const char* of_gain, const char* of_bias, ScalarType type, int64_t features) const {
    if (!(eps >= 0)) fail("expected eps of at least 0, found ", eps);
    return {vector(gain, of_gain, type, features), vector(bias, of_bias, type, features), eps};
  }
  template <typename T>
  sparse_engine::Norm<T> kernel_argument() const {
    return {data_or_null<T>(gain), data_or_null<T>(bias), static_cast<T>(eps)};
  }
};

// What a layer has beside its input; only the LSTM has a normalisation and a clip of c.
struct Layer {
  const Tensor& values;
  const Pattern& pattern;
  Norm norm, c_norm;
  const Optional &h0, &c0, &batch_sizes;
  int64_t activation = 0;
  double clip = 0;
};

// The same, checked and made contiguous for a cell.
template <typename T>
struct Checked {
  Checked(const Layer& layer, const Cell<T>& cell)
      : hidden(hidden_of(layer.pattern, cell.gates)),
        rows(cell.gates * hidden),
        values(vector(layer.values, "values", kType<T>, layer.pattern.nnz())),
        norm(layer.norm.checked("gain", "bias", kType<T>, rows)),
        c_norm(layer.c_norm.checked("c_gain", "c_bias", kType<T>, hidden)),
        activation(activation_of(layer.activation)) {
    if (cell.has_memory && layer.h0.has_value() != layer.c0.has_value())
      fail("expected both h0 and c0 or neither, found one");
  }

  int64_t hidden, rows;
  Tensor values;
  Norm norm, c_norm;
  Activation activation;
};

struct States {
  Tensor h, c_n, saved, moments;
};

// What backward needs comes back without steps where it is not to be kept.
template <typename T>
States forward(const Cell<T>& cell, const Tensor& x, const Layer& layer, bool keep) {
  const Checked<T> own(layer, cell);
  const Layout layout(x, "x", layer.batch_sizes, own.rows);
  const Tensor input = layout(x, "x", kType<T>, own.rows);
  const int64_t batch = layout.batch;
  if (layout.steps == 0) fail("expected x of at least one time step, found none");
  const Optional h0 = state(layer.h0, "h0", kType<T>, batch, own.hidden);
  const Optional c0 = state(layer.c0, "c0", kType<T>, batch, own.hidden);
  States to{empty(input, layout.shape(own.hidden)),
            empty(input, {cell.has_memory ? batch : 0, own.hidden}),
            empty(input, layout.shape(own.hidden * cell.saved, keep)),
            empty(input, layout.shape(cell.moments, keep))};
  if (to.h.numel() == 0) return to;
  const Links w = layer.pattern.links();
  (kernels<T>().*
   cell.forward)({w.csr(), data<T>(own.values), own.norm.template kernel_argument<T>(),
                  own.c_norm.template kernel_argument<T>(), data<T>(input), data_or_null<T>(h0),
                  data_or_null<T>(c0), mutable_data<T>(to.h),
                  cell.has_memory ? mutable_data<T>(to.c_n) : nullptr,
                  keep ? mutable_data<T>(to.saved) : nullptr,
                  keep ? mutable_data<T>(to.moments) : nullptr, layout.first_row(), layout.steps,
                  batch, own.activation, static_cast<T>(layer.clip), threads()});
  return to;
}

// What the forward pass left, the gradients of its results, and the LSTM's input.
struct Results {
  const Tensor &h, &saved, &moments, &dh;
  const Optional &dc_n, &x;
};

struct Gradients {
  Tensor x, h0, c0, gain, bias, c_gain, c_bias, values;
};

// What is not wanted comes back empty.
template <typename T>
Gradients backward(const Cell<T>& cell, const Results& results, const Layer& layer, bool wants_x,
                   bool wants_values) {
  const Pattern& pattern = layer.pattern;
  const Checked<T> own(layer, cell);
  const int64_t hidden = own.hidden, with_c = cell.has_memory ? hidden : 0;
  const Layout layout(results.h, "h", layer.batch_sizes, hidden);
  const int64_t batch = layout.batch;
  const Tensor h = layout(results.h, "h", kType<T>, hidden);
  const Tensor saved = layout(results.saved, "saved", kType<T>, hidden * cell.saved);
  const Tensor moments = layout(results.moments, "moments", kType<T>, cell.moments);
  const Tensor dh = layout(results.dh, "dh", kType<T>, hidden);
  Optional x;
  if (results.x) x = layout(*results.x, "x", kType<T>, own.rows);
  const Optional dc_n = state(results.dc_n, "dc_n", kType<T>, batch, hidden);
  const Optional h0 = state(layer.h0, "h0", kType<T>, batch, hidden);
  const Optional c0 = state(layer.c0, "c0", kType<T>, batch, hidden);
  Gradients to{empty(h, layout.shape(own.rows, wants_x)),
               empty(h, {h0 ? batch : 0, hidden}),
               empty(h, {c0 ? batch : 0, hidden}),
               empty(h, {own.rows}),
               empty(h, {own.rows}),
               empty(h, {with_c}),
               empty(h, {with_c}),
               empty(h, {wants_values ? pattern.nnz() : 0})};
  if (h.numel() == 0) {
    for (Tensor* t : {&to.h0, &to.c0, &to.gain, &to.bias, &to.c_gain, &to.c_bias, &to.values})
      torch::stable::zero_(*t);
    return to;
  }
  const Links w = pattern.links(), wt = pattern.transposed();
  (kernels<T>().*cell.backward)({w.csr(),
                                 wt.csr(),
                                 pattern.order(),
                                 data<T>(own.values),
                                 own.norm.template kernel_argument<T>(),
                                 own.c_norm.template kernel_argument<T>(),
                                 data_or_null<T>(h0),
                                 data_or_null<T>(c0),
                                 data_or_null<T>(x),
                                 data<T>(h),
                                 data<T>(saved),
                                 data<T>(moments),
                                 data<T>(dh),
                                 data_or_null<T>(dc_n),
                                 wants_x ? mutable_data<T>(to.x) : nullptr,
                                 {mutable_data<T>(to.gain), mutable_data<T>(to.bias)},
                                 {mutable_data<T>(to.c_gain), mutable_data<T>(to.c_bias)},
                                 h0 ? mutable_data<T>(to.h0) : nullptr,
                                 c0 ? mutable_data<T>(to.c0) : nullptr,
                                 wants_values ? mutable_data<T>(to.values) : nullptr,
                                 layout.first_row(),
                                 layout.steps,
                                 batch,
                                 own.activation,
                                 static_cast<T>(layer.clip),
                                 threads()});
  return to;
}

std::tuple<Tensor, Tensor, Tensor> normed_rnn_forward(
    const Tensor& x, const Optional& h0, const Optional& gain, const Optional& bias,
    const Tensor& values, const Tensor& crow, const Tensor& col, const Tensor& t_crow,
    const Tensor& t_col, const Tensor& permutation, const Optional& batch_sizes, double eps,
    int64_t activation, bool keep) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    States to = forward<T>(
        kRnn<T>, x,
        {values, pattern, {gain, bias, eps}, {}, h0, std::nullopt, batch_sizes, activation}, keep);
    return std::tuple(to.h, to.saved, to.moments);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> normed_rnn_backward(
    const Tensor& dh, const Tensor& h, const Tensor& saved, const Tensor& moments,
    const Optional& h0, const Optional& gain, const Tensor& values, const Tensor& crow,
    const Tensor& col, const Tensor& t_crow, const Tensor& t_col, const Tensor& permutation,
    const Optional& batch_sizes, int64_t activation, bool wants_x, bool wants_values) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    Gradients to = backward<T>(
        kRnn<T>, {h, saved, moments, dh, std::nullopt, std::nullopt},
        {values, pattern, {gain, std::nullopt}, {}, h0, std::nullopt, batch_sizes, activation},
        wants_x, wants_values);
    return std::tuple(to.x, to.h0, to.gain, to.bias, to.values);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor> normed_lstm_forward(
    const Tensor& x, const Optional& h0, const Optional& c0, const Optional& gain,
    const Optional& bias, const Optional& c_gain, const Optional& c_bias, const Tensor& values,
    const Tensor& crow, const Tensor& col, const Tensor& t_crow, const Tensor& t_col,
    const Tensor& permutation, const Optional& batch_sizes, double eps, double c_eps,
    std::optional<double> clip, bool keep) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    States to = forward<T>(kLstm<T>, x,
                           {values,
                            pattern,
                            {gain, bias, eps},
                            {c_gain, c_bias, c_eps},
                            h0,
                            c0,
                            batch_sizes,
                            0,
                            bound(clip)},
                           keep);
    return std::tuple(to.h, to.c_n, to.saved, to.moments);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> normed_lstm_backward(
    const Tensor& dh, const Optional& dc_n, const Tensor& h, const Tensor& saved,
    const Tensor& moments, const Tensor& x, const Optional& h0, const Optional& c0,
    const Optional& gain, const Optional& bias, const Optional& c_gain, const Optional& c_bias,
    const Tensor& values, const Tensor& crow, const Tensor& col, const Tensor& t_crow,
    const Tensor& t_col, const Tensor& permutation, const Optional& batch_sizes,
    std::optional<double> clip, bool wants_x, bool wants_values) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    Gradients to = backward<T>(
        kLstm<T>, {h, saved, moments, dh, dc_n, x},
        {values, pattern, {gain, bias}, {c_gain, c_bias}, h0, c0, batch_sizes, 0, bound(clip)},
        wants_x, wants_values);
    return std::tuple(to.x, to.h0, to.c0, to.gain, to.bias, to.c_gain, to.c_bias, to.values);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "normed_rnn_forward(Tensor x, Tensor? h0, Tensor? gain, Tensor? bias, Tensor values, Tensor "
      "crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, Tensor? batch_sizes, "
      "float eps, int activation, bool keep) -> (Tensor, Tensor, Tensor)");
  m.def(
      "normed_rnn_backward(Tensor dh, Tensor h, Tensor saved, Tensor moments, Tensor? h0, Tensor? "
      "gain, Tensor values, Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor "
      "permutation, Tensor? batch_sizes, int activation, bool wants_x, bool wants_values) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "normed_lstm_forward(Tensor x, Tensor? h0, Tensor? c0, Tensor? gain, Tensor? bias, Tensor? "
      "c_gain, Tensor? c_bias, Tensor values, Tensor crow, Tensor col, Tensor t_crow, Tensor "
      "t_col, Tensor permutation, Tensor? batch_sizes, float eps, float c_eps, float? clip, bool "
      "keep) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "normed_lstm_backward(Tensor dh, Tensor? dc_n, Tensor h, Tensor saved, Tensor moments, "
      "Tensor x, Tensor? h0, Tensor? c0, Tensor? gain, Tensor? bias, Tensor? c_gain, Tensor? "
      "c_bias, Tensor values, Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor "
      "permutation, Tensor? batch_sizes, float? clip, bool wants_x, bool wants_values) -> (Tensor, "
      "Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  SPARSE_ENGINE_IMPL(m, "normed_rnn_forward", normed_rnn_forward);
  SPARSE_ENGINE_IMPL(m, "normed_rnn_backward", normed_rnn_backward);
  SPARSE_ENGINE_IMPL(m, "normed_lstm_forward", normed_lstm_forward);
  SPARSE_ENGINE_IMPL(m, "normed_lstm_backward", normed_lstm_backward);
}

}  // namespace sparse_engine::bindings
