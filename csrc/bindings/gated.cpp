// The operations of a cell with gates: lstm_forward, lstm_backward, lstm_step, gru_forward, ...
// This file is compiled once for each of them, see cells/compiled_cell.h.
#include <tuple>

#include "cells/compiled_cell.h"
#include "step.h"

namespace sparse_engine::bindings {
namespace {

using Cell = SPARSE_ENGINE_CELL_CLASS<float>;
constexpr int64_t kGates = Cell::kGates, kSaved = Cell::kSaved;
constexpr bool kHasMemory = Cell::kMemory >= 0;

// The weights inside the time loop: the recurrent one and, if there is one, the projection's, whose
// six tensors follow those of the other.
class Weights {
 public:
  Weights(const Tensors& patterns, const Optional& p_values)
      : pattern(first(patterns, p_values.has_value())), p_values_(p_values) {
    if (p_values) projection_.emplace(patterns.data() + Pattern::kTensors);
  }

  Pattern pattern;

  int64_t rows() const { return pattern.rows(); }
  int64_t outputs() const { return pattern.cols(); }
  int64_t p_links() const { return projection_ ? projection_->nnz() : 0; }
  bool projects() const { return projection_.has_value(); }

  // The number of units, once the shapes are known to fit each other.
  int64_t hidden() const {
    const int64_t hidden = projection_ ? projection_->cols() : outputs();
    if (rows() != kGates * hidden || (projection_ && projection_->rows() != outputs()))
      fail("expected a recurrent weight of ", kGates, " gates, ", kGates * hidden, " x ",
           projection_ ? projection_->rows() : hidden, ", found ", rows(), " x ", outputs());
    return hidden;
  }

  // The projection's values, checked and made contiguous. They have to outlive `Projected`.
  template <typename T>
  Optional p_values() const {
    return vector(p_values_, "projection_values", kType<T>, p_links());
  }

  const std::optional<Pattern>& projection() const { return projection_; }

 private:
  static const Tensor* first(const Tensors& patterns, bool projects) {
    if (patterns.size() != (projects ? 2 : 1) * Pattern::kTensors)
      fail("expected six tensors for the pattern of each of ", projects ? 2 : 1, " weights, found ",
           patterns.size());
    return patterns.data();
  }

  Optional p_values_;
  std::optional<Pattern> projection_;
};

// The projection as a kernel may read it: forward, or with its transpose.
template <typename T>
class Projected {
 public:
  Projected(const std::optional<Pattern>& pattern, const Optional& values, bool backward) {
    if (!pattern) return;
    w_.emplace(pattern->w(), Check::kIndices);
    argument_ = {w_->csr(), {}, nullptr, data<T>(*values)};
    if (!backward) return;
    wt_.emplace(pattern->wt(), Check::kIndices);
    argument_.wt = wt_->csr();
    argument_.permutation = pattern->order();
  }

  const Projection<T>& argument() const { return argument_; }

 private:
  std::optional<Links> w_, wt_;
  Projection<T> argument_{};
};

// Checks the arguments that only a cell with a c takes.
void check_memory_arguments(const Optional& h0, const Optional& c0, const Weights& weights,
                            const std::optional<double>& clip) {
  if (kHasMemory)
    check_both(h0, c0);
  else if (c0 || weights.projects() || clip)
    fail("expected neither c0, a projection nor a clip for a cell that carries no c, found one");
}

std::tuple<Tensor, Tensor, Tensor> forward(const Tensor& x, const Optional& w_input,
                                           const Optional& b_input, const Optional& h0,
                                           const Optional& c0, const Optional& bias,
                                           const Tensor& values, const Tensors& patterns,
                                           const Optional& p_values, const Optional& batch_sizes,
                                           std::optional<double> clip, bool keep,
                                           const Optional& resets) {
  const Weights weights(patterns, p_values);
  check_memory_arguments(h0, c0, weights, clip);
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    check_kernel(kernels.SPARSE_ENGINE_OF_CELL(forward));
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t hidden = weights.hidden(), outputs = weights.outputs(), rows = weights.rows();
    const Tensor own = vector(values, "values", kType<T>, weights.pattern.nnz());
    const Optional own_projection = weights.p_values<T>();
    const Optional offset = vector(bias, "bias", kType<T>, rows);
    const Optional dense = input_weight(w_input, kType<T>, rows);
    if (b_input) check_multiplied("b_input");
    const Optional dense_offset = vector(b_input, "b_input", kType<T>, rows);
    const int64_t inputs = dense ? dense->size(1) : rows;
    const Layout layout(x, "x", batch_sizes, inputs);
    const Tensor input = layout(x, "x", kType<A>, inputs);
    const int64_t batch = layout.batch;
    if (layout.steps == 0) fail("expected x of at least one time step, found none");
    const Optional first_h = state(h0, "h0", kType<A>, batch, outputs);
    const Optional first_c = state(c0, "c0", kType<T>, batch, hidden);
    const Optional begins = resets_of(resets, layout.steps, batch, batch_sizes);
    Result<A> h(own, layout.shape(outputs)), saved(own, layout.shape(hidden * kSaved), keep);
    Result<T> c_n(own, {batch, hidden}, kHasMemory);
    if (batch > 0 && hidden > 0 && outputs > 0) {
      const Links w = weights.pattern.links(Check::kPointers);
      const Projected<T> projected(weights.projection(), own_projection, false);
      bool out_of_range = false;
      kernels.SPARSE_ENGINE_OF_CELL(forward)({w.csr(),
                                              data<T>(own),
                                              data_or_null<T>(offset),
                                              data<A>(input),
                                              data_or_null<T>(dense),
                                              data_or_null<T>(dense_offset),
                                              data_or_null<A>(first_h),
                                              data_or_null<T>(first_c),
                                              h.data(),
                                              c_n.data(),
                                              saved.data(),
                                              layout.first_row(),
                                              layout.steps,
                                              batch,
                                              inputs,
                                              projected.argument(),
                                              static_cast<T>(bound(clip)),
                                              threads(),
                                              &out_of_range,
                                              data_or_null<bool>(begins)});
      if (out_of_range) weights.pattern.fail_of_range();
    } else {
      c_n.clear();
    }
    return std::tuple(h.tensor(), c_n.tensor(), saved.tensor());
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// With x, the gradients of the dense input weights and their bias are wanted.
Gradients backward(const Tensor& dh, const Optional& dc_n, const Tensor& h, const Tensor& saved,
                   const Optional& x, const Optional& h0, const Optional& c0, const Tensor& values,
                   const Tensors& patterns, const Optional& p_values, const Optional& batch_sizes,
                   std::optional<double> clip, bool wants_x, bool wants_values, bool wants_p_values,
                   const Optional& resets) {
  const Weights weights(patterns, p_values);
  check_memory_arguments(h0, c0, weights, clip);
  return with_activations(values, h, [&](auto real, auto kept, const auto& kernels) {
    check_kernel(kernels.SPARSE_ENGINE_OF_CELL(backward));
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t hidden = weights.hidden(), outputs = weights.outputs(), rows = weights.rows();
    const int64_t nnz = weights.pattern.nnz();
    const Tensor own = vector(values, "values", kType<T>, nnz);
    const Optional own_projection = weights.p_values<T>();
    const Layout layout(h, "h", batch_sizes, outputs);
    const int64_t batch = layout.batch;
    const Tensor states = layout(h, "h", kType<A>, outputs);
    const Tensor gradient = layout(dh, "dh", kType<A>, outputs);
    const Tensor kept_numbers = layout(saved, "saved", kType<A>, hidden * kSaved);
    const Optional input = layout.input(x, kType<A>);
    const int64_t inputs = input ? input->size(input->dim() - 1) : 0;
    const Optional last = state(dc_n, "dc_n", kType<T>, batch, hidden);
    const Optional first_h = state(h0, "h0", kType<A>, batch, outputs);
    const Optional first_c = state(c0, "c0", kType<T>, batch, hidden);
    const Optional begins = resets_of(resets, layout.steps, batch, batch_sizes);
    Result<A> dv(own, layout.shape(rows), wants_x), dh0(own, {batch, outputs}, !!first_h);
    Result<T> dw_input(own, {rows, inputs}, !!input), db_input(own, {rows}, !!input);
    Result<T> dc0(own, {batch, hidden}, !!first_c), dbias(own, {rows});
    Result<T> dvalues(own, {nnz}, wants_values);
    Result<T> dp_values(own, {weights.p_links()}, weights.projects() && wants_p_values);
    if (batch > 0 && hidden > 0 && outputs > 0) {
      const Links w = weights.pattern.links(), wt = weights.pattern.transposed();
      const Projected<T> projected(weights.projection(), own_projection, true);
      kernels.SPARSE_ENGINE_OF_CELL(backward)({w.csr(),
                                               wt.csr(),
                                               weights.pattern.order(),
                                               data<T>(own),
                                               data_or_null<A>(first_h),
                                               data_or_null<T>(first_c),
                                               data<A>(states),
                                               data<A>(kept_numbers),
                                               data<A>(gradient),
                                               data_or_null<T>(last),
                                               data_or_null<A>(input),
                                               dv.data(),
                                               dw_input.data(),
                                               db_input.data(),
                                               dbias.data(),
                                               dh0.data(),
                                               dc0.data(),
                                               dvalues.data(),
                                               dp_values.data(),
                                               layout.first_row(),
                                               layout.steps,
                                               batch,
                                               inputs,
                                               projected.argument(),
                                               static_cast<T>(bound(clip)),
                                               threads(),
                                               data_or_null<bool>(begins)});
    } else {
      clear(dw_input, db_input, dh0, dc0, dbias, dvalues, dp_values);
    }
    return Gradients(dv.tensor(), dw_input.tensor(), db_input.tensor(), dh0.tensor(), dc0.tensor(),
                     dbias.tensor(), dvalues.tensor(), dp_values.tensor());
  });
}

Tensors step(const Tensor& x, const Tensors& before, const Tensors& parameters, int64_t layers,
             int64_t hidden, bool bias, std::optional<double> clip) {
  // Where the candidate's recurrent part is scaled by a gate, so is its bias.
  constexpr bool kAddsBiases = Cell::kShared == kGates;
  const CellShape cell{kGates, kHasMemory ? 2 : 1, kAddsBiases};
  return network_step(x, before, parameters, layers, hidden, bias, cell, [&](const auto& layer) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(layer.x)>>;
    kernels<T>().SPARSE_ENGINE_OF_CELL(forward)(
        {layer.w, layer.values, layer.bias, layer.x, layer.w_input, layer.b_input, layer.before[0],
         layer.before[1], layer.now[0], layer.now[1], nullptr, nullptr, 1, layer.batch,
         layer.inputs, Projection<T>{}, static_cast<T>(bound(clip)), layer.threads,
         layer.out_of_range});
  });
}

}  // namespace

SPARSE_ENGINE_CPU_OPERATION(
    SPARSE_ENGINE_TEXT(SPARSE_ENGINE_OF_CELL(step)), step,
    "(Tensor x, Tensor[] before, Tensor[] parameters, int layers, int hidden, bool bias, "
    "float? clip) -> Tensor[]")
SPARSE_ENGINE_OPERATION(
    SPARSE_ENGINE_TEXT(SPARSE_ENGINE_OF_CELL(forward)), forward,
    "(Tensor x, Tensor? w_input, Tensor? b_input, Tensor? h0, Tensor? c0, Tensor? bias, "
    "Tensor values, Tensor[] pattern, Tensor? p_values, Tensor? batch_sizes, "
    "float? clip, bool keep, Tensor? resets=None) -> (Tensor h, Tensor c_n, Tensor saved)")
SPARSE_ENGINE_OPERATION(
    SPARSE_ENGINE_TEXT(SPARSE_ENGINE_OF_CELL(backward)), backward,
    "(Tensor dh, Tensor? dc_n, Tensor h, Tensor saved, Tensor? x, Tensor? h0, Tensor? c0, "
    "Tensor values, Tensor[] pattern, Tensor? p_values, Tensor? batch_sizes, "
    "float? clip, bool wants_x, bool wants_values, bool wants_p_values, "
    "Tensor? resets=None) -> (Tensor dv, Tensor dw_input, Tensor db_input, Tensor dh0, Tensor dc0, "
    "Tensor dbias, Tensor dvalues, Tensor dp_values)")

}  // namespace sparse_engine::bindings
