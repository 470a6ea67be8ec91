// normed_rnn_forward, normed_rnn_backward, normed_lstm_forward and normed_lstm_backward.
#include <tuple>

#include "activation.h"
#include "sequence.h"

namespace sparse_engine::bindings {
namespace {

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
  const Optional &h0, &c0, &batch_sizes, &resets;
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
    if (cell.has_memory) check_both(layer.h0, layer.c0);
    if (OnCuda::here() && layer.resets)
      fail("expected no resets with layer normalisation on a CUDA device, found some");
  }

  int64_t hidden, rows;
  Tensor values;
  Norm norm, c_norm;
  Activation activation;
};

template <typename T>
struct States {
  Result<T> h, c_n, saved, moments;
};

template <typename T>
States<T> forward(const Cell<T>& cell, const Tensor& x, const Layer& layer, bool keep) {
  const Checked<T> own(layer, cell);
  const Layout layout(x, "x", layer.batch_sizes, own.rows);
  const Tensor input = layout(x, "x", kType<T>, own.rows);
  const int64_t batch = layout.batch;
  if (layout.steps == 0) fail("expected x of at least one time step, found none");
  const Optional h0 = state(layer.h0, "h0", kType<T>, batch, own.hidden);
  const Optional c0 = state(layer.c0, "c0", kType<T>, batch, own.hidden);
  const Optional resets = resets_of(layer.resets, layout.steps, batch, layer.batch_sizes);
  States<T> to{{input, layout.shape(own.hidden)},
               {input, {batch, own.hidden}, cell.has_memory},
               {input, layout.shape(own.hidden * cell.saved), keep},
               {input, layout.shape(cell.moments), keep}};
  if (to.h.tensor().numel() == 0) return to;
  const Links w = layer.pattern.links();
  (kernels<T>().*
   cell.forward)({w.csr(), data<T>(own.values), own.norm.template kernel_argument<T>(),
                  own.c_norm.template kernel_argument<T>(), data<T>(input), data_or_null<T>(h0),
                  data_or_null<T>(c0), to.h.data(), to.c_n.data(), to.saved.data(),
                  to.moments.data(), layout.first_row(), layout.steps, batch, own.activation,
                  static_cast<T>(layer.clip), threads(), data_or_null<bool>(resets)});
  return to;
}

// What the forward pass left, the gradients of its results, and the LSTM's input.
struct Given {
  const Tensor &h, &saved, &moments, &dh;
  const Optional &dc_n, &x;
};

template <typename T>
struct Gradients {
  Result<T> x, h0, c0, gain, bias, c_gain, c_bias, values;
};

template <typename T>
Gradients<T> backward(const Cell<T>& cell, const Given& given, const Layer& layer, bool wants_x,
                      bool wants_values) {
  const Pattern& pattern = layer.pattern;
  const Checked<T> own(layer, cell);
  const int64_t hidden = own.hidden;
  const Layout layout(given.h, "h", layer.batch_sizes, hidden);
  const int64_t batch = layout.batch;
  const Tensor h = layout(given.h, "h", kType<T>, hidden);
  const Tensor saved = layout(given.saved, "saved", kType<T>, hidden * cell.saved);
  const Tensor moments = layout(given.moments, "moments", kType<T>, cell.moments);
  const Tensor dh = layout(given.dh, "dh", kType<T>, hidden);
  Optional x;
  if (given.x) x = layout(*given.x, "x", kType<T>, own.rows);
  const Optional dc_n = state(given.dc_n, "dc_n", kType<T>, batch, hidden);
  const Optional h0 = state(layer.h0, "h0", kType<T>, batch, hidden);
  const Optional c0 = state(layer.c0, "c0", kType<T>, batch, hidden);
  const Optional resets = resets_of(layer.resets, layout.steps, batch, layer.batch_sizes);
  Gradients<T> to{{h, layout.shape(own.rows), wants_x},
                  {h, {batch, hidden}, !!h0},
                  {h, {batch, hidden}, !!c0},
                  {h, {own.rows}},
                  {h, {own.rows}},
                  {h, {hidden}, cell.has_memory},
                  {h, {hidden}, cell.has_memory},
                  {h, {pattern.nnz()}, wants_values}};
  if (h.numel() == 0) {
    clear(to.h0, to.c0, to.gain, to.bias, to.c_gain, to.c_bias, to.values);
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
                                 to.x.data(),
                                 {to.gain.data(), to.bias.data()},
                                 {to.c_gain.data(), to.c_bias.data()},
                                 to.h0.data(),
                                 to.c0.data(),
                                 to.values.data(),
                                 layout.first_row(),
                                 layout.steps,
                                 batch,
                                 own.activation,
                                 static_cast<T>(layer.clip),
                                 threads(),
                                 data_or_null<bool>(resets)});
  return to;
}

std::tuple<Tensor, Tensor, Tensor> rnn_forward(const Tensor& x, const Optional& h0,
                                               const Optional& gain, const Optional& bias,
                                               const Tensor& values, const Tensors& links,
                                               const Optional& batch_sizes, double eps,
                                               int64_t activation, bool keep,
                                               const Optional& resets) {
  const Pattern pattern(links);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    const States<T> to = forward<T>(
        kRnn<T>, x,
        {values, pattern, {gain, bias, eps}, {}, h0, std::nullopt, batch_sizes, resets, activation},
        keep);
    return std::tuple(to.h.tensor(), to.saved.tensor(), to.moments.tensor());
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rnn_backward(
    const Tensor& dh, const Tensor& h, const Tensor& saved, const Tensor& moments,
    const Optional& h0, const Optional& gain, const Tensor& values, const Tensors& links,
    const Optional& batch_sizes, int64_t activation, bool wants_x, bool wants_values,
    const Optional& resets) {
  const Pattern pattern(links);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    const Gradients<T> to =
        backward<T>(kRnn<T>, {h, saved, moments, dh, std::nullopt, std::nullopt},
                    {values,
                     pattern,
                     {gain, std::nullopt},
                     {},
                     h0,
                     std::nullopt,
                     batch_sizes,
                     resets,
                     activation},
                    wants_x, wants_values);
    return std::tuple(to.x.tensor(), to.h0.tensor(), to.gain.tensor(), to.bias.tensor(),
                      to.values.tensor());
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor> lstm_forward(
    const Tensor& x, const Optional& h0, const Optional& c0, const Optional& gain,
    const Optional& bias, const Optional& c_gain, const Optional& c_bias, const Tensor& values,
    const Tensors& links, const Optional& batch_sizes, double eps, double c_eps,
    std::optional<double> clip, bool keep, const Optional& resets) {
  const Pattern pattern(links);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    const Norm norm{gain, bias, eps}, c_norm{c_gain, c_bias, c_eps};
    const States<T> to = forward<T>(
        kLstm<T>, x, {values, pattern, norm, c_norm, h0, c0, batch_sizes, resets, 0, bound(clip)},
        keep);
    return std::tuple(to.h.tensor(), to.c_n.tensor(), to.saved.tensor(), to.moments.tensor());
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> lstm_backward(
    const Tensor& dh, const Optional& dc_n, const Tensor& h, const Tensor& saved,
    const Tensor& moments, const Tensor& x, const Optional& h0, const Optional& c0,
    const Optional& gain, const Optional& bias, const Optional& c_gain, const Optional& c_bias,
    const Tensor& values, const Tensors& links, const Optional& batch_sizes,
    std::optional<double> clip, bool wants_x, bool wants_values, const Optional& resets) {
  const Pattern pattern(links);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    const Norm norm{gain, bias}, c_norm{c_gain, c_bias};
    const Gradients<T> to =
        backward<T>(kLstm<T>, {h, saved, moments, dh, dc_n, x},
                    {values, pattern, norm, c_norm, h0, c0, batch_sizes, resets, 0, bound(clip)},
                    wants_x, wants_values);
    return std::tuple(to.x.tensor(), to.h0.tensor(), to.c0.tensor(), to.gain.tensor(),
                      to.bias.tensor(), to.c_gain.tensor(), to.c_bias.tensor(), to.values.tensor());
  });
}

}  // namespace

SPARSE_ENGINE_OPERATION(
    "normed_rnn_forward", rnn_forward,
    "(Tensor x, Tensor? h0, Tensor? gain, Tensor? bias, Tensor values, Tensor[] pattern, "
    "Tensor? batch_sizes, float eps, int activation, bool keep, Tensor? resets=None) -> "
    "(Tensor h, Tensor saved, Tensor moments)")
SPARSE_ENGINE_OPERATION(
    "normed_rnn_backward", rnn_backward,
    "(Tensor dh, Tensor h, Tensor saved, Tensor moments, Tensor? h0, Tensor? gain, "
    "Tensor values, Tensor[] pattern, Tensor? batch_sizes, int activation, bool wants_x, "
    "bool wants_values, Tensor? resets=None) -> "
    "(Tensor dx, Tensor dh0, Tensor dgain, Tensor dbias, Tensor dvalues)")
SPARSE_ENGINE_OPERATION(
    "normed_lstm_forward", lstm_forward,
    "(Tensor x, Tensor? h0, Tensor? c0, Tensor? gain, Tensor? bias, Tensor? c_gain, "
    "Tensor? c_bias, Tensor values, Tensor[] pattern, Tensor? batch_sizes, float eps, "
    "float c_eps, float? clip, bool keep, Tensor? resets=None) -> "
    "(Tensor h, Tensor c_n, Tensor saved, Tensor moments)")
SPARSE_ENGINE_OPERATION(
    "normed_lstm_backward", lstm_backward,
    "(Tensor dh, Tensor? dc_n, Tensor h, Tensor saved, Tensor moments, Tensor x, Tensor? h0, "
    "Tensor? c0, Tensor? gain, Tensor? bias, Tensor? c_gain, Tensor? c_bias, Tensor values, "
    "Tensor[] pattern, Tensor? batch_sizes, float? clip, bool wants_x, bool wants_values, "
    "Tensor? resets=None) -> "
    "(Tensor dx, Tensor dh0, Tensor dc0, Tensor dgain, Tensor dbias, Tensor dc_gain, "
    "Tensor dc_bias, Tensor dvalues)")

}  // namespace sparse_engine::bindings
