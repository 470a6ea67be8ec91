// lstm_forward, lstm_backward, gru_forward and gru_backward.
#include <tuple>

#include "pattern.h"
#include "sequence.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine::bindings {
namespace {

// A layer's projection, if it has one.
struct Projection {
  std::optional<Tensor> values;
  std::optional<Pattern> pattern;

  Projection() = default;
  Projection(const std::optional<Tensor>& values, const std::optional<Tensor>& crow,
             const std::optional<Tensor>& col, const std::optional<Tensor>& t_crow,
             const std::optional<Tensor>& t_col, const std::optional<Tensor>& permutation)
      : values(values) {
    if (!values) return;
    if (!crow || !col || !t_crow || !t_col || !permutation)
      fail("expected a pattern beside the projection's values, found none");
    pattern.emplace(*crow, *col, *t_crow, *t_col, *permutation);
  }

  int64_t links() const { return pattern ? pattern->nnz() : 0; }

  // Its values checked and made contiguous, which must outlive the result of `kernel_argument`.
  template <typename T>
  std::optional<Tensor> checked_values() const {
    return vector(values, "projection_values", kType<T>, links());
  }
};

// The projection as a kernel may read it: forward, or with its transpose.
template <typename T>
class ReadableProjection {
 public:
  ReadableProjection(const Projection& projection, const std::optional<Tensor>& checked,
                     bool backward) {
    if (!projection.pattern) return;
    const Pattern& pattern = *projection.pattern;
    w_.emplace(pattern.w(), Check::kIndices);
    argument_ = {w_->csr(), {}, nullptr, data<T>(*checked)};
    if (!backward) return;
    wt_.emplace(pattern.wt(), Check::kIndices);
    argument_.wt = wt_->csr();
    argument_.permutation = pattern.order();
  }

  const sparse_engine::Projection<T>& argument() const { return argument_; }

 private:
  std::optional<Links> w_, wt_;
  sparse_engine::Projection<T> argument_{};
};

// Hidden units of a layer whose recurrent weight is w, and whose outputs may be projected.
int64_t hidden_of(const Pattern& w, int64_t gates, const Projection& projection) {
  const int64_t hidden = projection.pattern ? projection.pattern->cols() : w.cols();
  if (w.rows() != gates * hidden || (projection.pattern && projection.pattern->rows() != w.cols()))
    fail("expected a recurrent weight of ", gates, " gates, ", gates * hidden, " x ",
         projection.pattern ? projection.pattern->rows() : hidden, ", found ", w.rows(), " x ",
         w.cols());
  return hidden;
}

void check_both(const std::optional<Tensor>& h0, const std::optional<Tensor>& c0) {
  if (h0.has_value() != c0.has_value()) fail("expected both h0 and c0 or neither, found one");
}

// A cell's kernels for activations kept as A, and how many gates and saved numbers a unit has.
template <typename T, typename A>
struct Cell {
  void (*forward)(const GatedForward<T, A>&);
  void (*backward)(const GatedBackward<T, A>&);
  int64_t gates, saved;
  bool has_memory;
};

template <typename T, typename A>
Cell(void (*)(const GatedForward<T, A>&), void (*)(const GatedBackward<T, A>&), int64_t, int64_t,
     bool) -> Cell<T, A>;

constexpr auto kLstm = [](const auto& kernels) {
  return Cell{kernels.lstm_forward, kernels.lstm_backward, 4, 5, true};
};
constexpr auto kGru = [](const auto& kernels) {
  return Cell{kernels.gru_forward, kernels.gru_backward, 3, 4, false};
};

// body(cell) for values and activations of these dtypes.
template <class CellOf, class Body>
auto with_cell(const CellOf& cell_of, const Tensor& values, const Tensor& activations,
               const Body& body) {
  return with_activations(values, activations, [&](auto, auto, const auto& kernels) {
    const auto cell = cell_of(kernels);
    check_kernel(cell.forward);
    return body(cell);
  });
}

// What a layer reads: x itself and its dense weights, or their product.
struct Input {
  const Tensor& x;
  const std::optional<Tensor>&weight, &bias;
};

// The initial state of a layer; the GRU has no c.
struct Initial {
  const std::optional<Tensor>&h, &c;
};

using BatchSizes = std::optional<Tensor>;

// A layer's recurrent weight, and what comes with it. Only the LSTM has a projection and a clip.
struct Recurrent {
  const Tensor& values;
  const Pattern& pattern;
  const Projection& projection;
  double clip;
};

struct States {
  Tensor h, c_n, saved;
};

// What backward needs comes back without steps where it is not to be kept.
template <typename T, typename A>
States forward(const Cell<T, A>& cell, const Input& input, const Initial& initial,
               const std::optional<Tensor>& offset, const Recurrent& recurrent,
               const BatchSizes& batch_sizes, bool keep) {
  const Pattern& pattern = recurrent.pattern;
  const int64_t hidden = hidden_of(pattern, cell.gates, recurrent.projection);
  const int64_t outputs = pattern.cols(), rows = pattern.rows();
  const Tensor links = vector(recurrent.values, "values", kType<T>, pattern.nnz());
  const std::optional<Tensor> projection = recurrent.projection.checked_values<T>();
  const std::optional<Tensor> bias = vector(offset, "bias", kType<T>, rows);
  const std::optional<Tensor> w_input = input_weight(input.weight, kType<T>, rows);
  const std::optional<Tensor> b_input = vector(input.bias, "b_input", kType<T>, rows);
  const int64_t inputs = w_input ? w_input->size(1) : rows;
  const Layout layout(input.x, "x", batch_sizes, inputs);
  const Tensor x = layout(input.x, "x", kType<A>, inputs);
  const int64_t batch = layout.batch;
  if (layout.steps == 0) fail("expected x of at least one time step, found none");
  const std::optional<Tensor> h0 = state(initial.h, "h0", kType<A>, batch, outputs);
  const std::optional<Tensor> c0 = state(initial.c, "c0", kType<T>, batch, hidden);
  States to{empty(x, layout.shape(outputs)), empty(links, {cell.has_memory ? batch : 0, hidden}),
            empty(x, layout.shape(hidden * cell.saved, keep))};
  if (batch == 0 || hidden == 0 || outputs == 0) {
    torch::stable::zero_(to.c_n);
    return to;
  }
  const Links w = pattern.links(Check::kPointers);
  const ReadableProjection<T> readable(recurrent.projection, projection, false);
  bool out_of_range = false;
  cell.forward(
      {w.csr(), data<T>(links), data_or_null<T>(bias), data<A>(x), data_or_null<T>(w_input),
       data_or_null<T>(b_input), data_or_null<A>(h0), data_or_null<T>(c0), mutable_data<A>(to.h),
       cell.has_memory ? mutable_data<T>(to.c_n) : nullptr,
       keep ? mutable_data<A>(to.saved) : nullptr, layout.first_row(), layout.steps, batch, inputs,
       readable.argument(), static_cast<T>(recurrent.clip), threads(), &out_of_range});
  if (out_of_range) pattern.fail_of_range();
  return to;
}

// What the forward pass left, and the gradients of its results.
struct Results {
  const Tensor &h, &saved, &dh;
  const std::optional<Tensor>& dc_n;
};

struct Gradients {
  Tensor v, w_input, b_input, h0, c0, bias, values, projection;
};

// With x, the gradients of the dense input weights and their bias are wanted. What is not wanted
// comes back empty.
template <typename T, typename A>
Gradients backward(const Cell<T, A>& cell, const Results& results, const std::optional<Tensor>& x,
                   const Initial& initial, const Recurrent& recurrent,
                   const BatchSizes& batch_sizes, bool wants_v, bool wants_values) {
  const Pattern& pattern = recurrent.pattern;
  const int64_t hidden = hidden_of(pattern, cell.gates, recurrent.projection);
  const int64_t outputs = pattern.cols(), rows = pattern.rows(), nnz = pattern.nnz();
  const Tensor links = vector(recurrent.values, "values", kType<T>, nnz);
  const std::optional<Tensor> projection = recurrent.projection.checked_values<T>();
  const Layout layout(results.h, "h", batch_sizes, outputs);
  const int64_t batch = layout.batch;
  const Tensor h = layout(results.h, "h", kType<A>, outputs);
  const Tensor dh = layout(results.dh, "dh", kType<A>, outputs);
  const Tensor saved = layout(results.saved, "saved", kType<A>, hidden * cell.saved);
  const std::optional<Tensor> input = layout.input(x, kType<A>);
  const int64_t inputs = input ? input->size(input->dim() - 1) : 0;
  const std::optional<Tensor> dc_n = state(results.dc_n, "dc_n", kType<T>, batch, hidden);
  const std::optional<Tensor> h0 = state(initial.h, "h0", kType<A>, batch, outputs);
  const std::optional<Tensor> c0 = state(initial.c, "c0", kType<T>, batch, hidden);
  Gradients to{empty(h, layout.shape(rows, wants_v)),
               empty(links, {input ? rows : 0, inputs}),
               empty(links, {input ? rows : 0}),
               empty(h, {h0 ? batch : 0, outputs}),
               empty(links, {c0 ? batch : 0, hidden}),
               empty(links, {rows}),
               empty(links, {wants_values ? nnz : 0}),
               empty(links, {wants_values ? recurrent.projection.links() : 0})};
  if (batch == 0 || hidden == 0 || outputs == 0) {
    for (Tensor* t :
         {&to.w_input, &to.b_input, &to.h0, &to.c0, &to.bias, &to.values, &to.projection})
      torch::stable::zero_(*t);
    return to;
  }
  const Links w = pattern.links(), wt = pattern.transposed();
  const ReadableProjection<T> readable(recurrent.projection, projection, true);
  cell.backward({w.csr(),
                 wt.csr(),
                 pattern.order(),
                 data<T>(links),
                 data_or_null<A>(h0),
                 data_or_null<T>(c0),
                 data<A>(h),
                 data<A>(saved),
                 data<A>(dh),
                 data_or_null<T>(dc_n),
                 data_or_null<A>(input),
                 wants_v ? mutable_data<A>(to.v) : nullptr,
                 input ? mutable_data<T>(to.w_input) : nullptr,
                 input ? mutable_data<T>(to.b_input) : nullptr,
                 mutable_data<T>(to.bias),
                 h0 ? mutable_data<A>(to.h0) : nullptr,
                 c0 ? mutable_data<T>(to.c0) : nullptr,
                 wants_values ? mutable_data<T>(to.values) : nullptr,
                 wants_values && projection ? mutable_data<T>(to.projection) : nullptr,
                 layout.first_row(),
                 layout.steps,
                 batch,
                 inputs,
                 readable.argument(),
                 static_cast<T>(recurrent.clip),
                 threads()});
  return to;
}

std::tuple<Tensor, Tensor, Tensor> lstm_forward(
    const Tensor& x, const std::optional<Tensor>& w_input, const std::optional<Tensor>& h0,
    const std::optional<Tensor>& c0, const std::optional<Tensor>& bias, const Tensor& values,
    const std::optional<Tensor>& p_values, const std::optional<Tensor>& p_crow,
    const std::optional<Tensor>& p_col, const std::optional<Tensor>& p_t_crow,
    const std::optional<Tensor>& p_t_col, const std::optional<Tensor>& p_permutation,
    const Tensor& crow, const Tensor& col, const Tensor& t_crow, const Tensor& t_col,
    const Tensor& permutation, const BatchSizes& batch_sizes, std::optional<double> clip,
    bool keep) {
  check_both(h0, c0);
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  const Projection projection(p_values, p_crow, p_col, p_t_crow, p_t_col, p_permutation);
  return with_cell(kLstm, values, x, [&](const auto& cell) {
    States to = forward(cell, {x, w_input, std::nullopt}, {h0, c0}, bias,
                        {values, pattern, projection, bound(clip)}, batch_sizes, keep);
    return std::tuple(to.h, to.c_n, to.saved);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> lstm_backward(
    const Tensor& dh, const std::optional<Tensor>& dc_n, const Tensor& h, const Tensor& saved,
    const std::optional<Tensor>& x, const std::optional<Tensor>& h0,
    const std::optional<Tensor>& c0, const Tensor& values, const std::optional<Tensor>& p_values,
    const std::optional<Tensor>& p_crow, const std::optional<Tensor>& p_col,
    const std::optional<Tensor>& p_t_crow, const std::optional<Tensor>& p_t_col,
    const std::optional<Tensor>& p_permutation, const Tensor& crow, const Tensor& col,
    const Tensor& t_crow, const Tensor& t_col, const Tensor& permutation,
    const BatchSizes& batch_sizes, std::optional<double> clip, bool wants_v, bool wants_values) {
  check_both(h0, c0);
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  const Projection projection(p_values, p_crow, p_col, p_t_crow, p_t_col, p_permutation);
  return with_cell(kLstm, values, h, [&](const auto& cell) {
    Gradients to =
        backward(cell, {h, saved, dh, dc_n}, x, {h0, c0},
                 {values, pattern, projection, bound(clip)}, batch_sizes, wants_v, wants_values);
    return std::tuple(to.v, to.w_input, to.h0, to.c0, to.bias, to.values, to.projection);
  });
}

std::tuple<Tensor, Tensor> gru_forward(const Tensor& x, const std::optional<Tensor>& w_input,
                                       const std::optional<Tensor>& b_input,
                                       const std::optional<Tensor>& h0,
                                       const std::optional<Tensor>& bias, const Tensor& values,
                                       const Tensor& crow, const Tensor& col, const Tensor& t_crow,
                                       const Tensor& t_col, const Tensor& permutation,
                                       const BatchSizes& batch_sizes, bool keep) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_cell(kGru, values, x, [&](const auto& cell) {
    States to = forward(cell, {x, w_input, b_input}, {h0, std::nullopt}, bias,
                        {values, pattern, {}, 0}, batch_sizes, keep);
    return std::tuple(to.h, to.saved);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> gru_backward(
    const Tensor& dh, const Tensor& h, const Tensor& saved, const std::optional<Tensor>& x,
    const std::optional<Tensor>& h0, const Tensor& values, const Tensor& crow, const Tensor& col,
    const Tensor& t_crow, const Tensor& t_col, const Tensor& permutation,
    const BatchSizes& batch_sizes, bool wants_v, bool wants_values) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_cell(kGru, values, h, [&](const auto& cell) {
    Gradients to = backward(cell, {h, saved, dh, std::nullopt}, x, {h0, std::nullopt},
                            {values, pattern, {}, 0}, batch_sizes, wants_v, wants_values);
    return std::tuple(to.v, to.w_input, to.b_input, to.h0, to.bias, to.values);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "lstm_forward(Tensor x, Tensor? w_input, Tensor? h0, Tensor? c0, Tensor? bias, Tensor "
      "values, Tensor? p_values, Tensor? p_crow, Tensor? p_col, Tensor? p_t_crow, Tensor? p_t_col, "
      "Tensor? p_permutation, Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor "
      "permutation, Tensor? batch_sizes, float? clip, bool keep) -> (Tensor, Tensor, Tensor)");
  m.def(
      "lstm_backward(Tensor dh, Tensor? dc_n, Tensor h, Tensor saved, Tensor? x, Tensor? h0, "
      "Tensor? c0, Tensor values, Tensor? p_values, Tensor? p_crow, Tensor? p_col, Tensor? "
      "p_t_crow, Tensor? p_t_col, Tensor? p_permutation, Tensor crow, Tensor col, Tensor t_crow, "
      "Tensor t_col, Tensor permutation, Tensor? batch_sizes, float? clip, bool wants_v, bool "
      "wants_values) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "gru_forward(Tensor x, Tensor? w_input, Tensor? b_input, Tensor? h0, Tensor? bias, Tensor "
      "values, Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, Tensor? "
      "batch_sizes, bool keep) -> (Tensor, Tensor)");
  m.def(
      "gru_backward(Tensor dh, Tensor h, Tensor saved, Tensor? x, Tensor? h0, Tensor values, "
      "Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, Tensor? "
      "batch_sizes, bool wants_v, bool wants_values) -> (Tensor, Tensor, Tensor, Tensor, Tensor, "
      "Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  SPARSE_ENGINE_IMPL(m, "lstm_forward", lstm_forward);
  SPARSE_ENGINE_IMPL(m, "lstm_backward", lstm_backward);
  SPARSE_ENGINE_IMPL(m, "gru_forward", gru_forward);
  SPARSE_ENGINE_IMPL(m, "gru_backward", gru_backward);
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("lstm_forward", SPARSE_ENGINE_CUDA_BOX(&lstm_forward));
  m.impl("lstm_backward", SPARSE_ENGINE_CUDA_BOX(&lstm_backward));
  m.impl("gru_forward", SPARSE_ENGINE_CUDA_BOX(&gru_forward));
  m.impl("gru_backward", SPARSE_ENGINE_CUDA_BOX(&gru_backward));
}

}  // namespace sparse_engine::bindings
