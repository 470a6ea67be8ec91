// rhn_forward and rhn_backward.
#include <deque>
#include <tuple>

#include "sequence.h"

namespace sparse_engine::bindings {
namespace {

// The weights of all levels. Each is six tensors, as a single pattern is; their values lie one
// after the other.
class Levels {
 public:
  explicit Levels(const Tensors& tensors) {
    if (tensors.empty() || tensors.size() % Pattern::kTensors != 0)
      fail("expected six tensors for the pattern of each level, found ", tensors.size());
    for (size_t i = 0; i < tensors.size(); i += Pattern::kTensors)
      patterns_.emplace_back(tensors.data() + i);
    if (rows() != 2 * hidden() && rows() != 3 * hidden())
      fail("expected a recurrent weight of 2 blocks (coupled gates) or 3, ", 2 * hidden(), " or ",
           3 * hidden(), " x ", hidden(), ", found ", rows(), " x ", hidden());
    for (const Pattern& pattern : patterns_) {
      if (pattern.rows() != rows() || pattern.cols() != hidden())
        fail("expected levels of one shape, ", rows(), " x ", hidden(), ", found ", pattern.rows(),
             " x ", pattern.cols());
      nnz_ += pattern.nnz();
    }
  }

  int64_t depth() const { return static_cast<int64_t>(patterns_.size()); }
  int64_t hidden() const { return patterns_.front().cols(); }
  int64_t rows() const { return patterns_.front().rows(); }
  // What is saved of each level: its blocks, and the state before it.
  int64_t saved() const { return rows() + hidden(); }
  int64_t nnz() const { return nnz_; }

  const std::vector<Pattern>& patterns() const { return patterns_; }

 private:
  std::vector<Pattern> patterns_;
  int64_t nnz_ = 0;
};

// The levels as a kernel may read them: forward, or with their transposes.
template <typename T>
class ReadableLevels {
 public:
  ReadableLevels(const Levels& levels, const T* values, bool backward) {
    for (const Pattern& pattern : levels.patterns()) {
      RhnLevel<T> level{
          links_.emplace_back(pattern.w(), Check::kIndices).csr(), {}, nullptr, values};
      if (backward) {
        level.wt = links_.emplace_back(pattern.wt(), Check::kIndices).csr();
        level.permutation = pattern.order();
      }
      levels_.push_back(level);
      values += pattern.nnz();
    }
  }

  const RhnLevel<T>* data() const { return levels_.data(); }

 private:
  std::deque<Links> links_;
  std::vector<RhnLevel<T>> levels_;
};

// A [steps, levels, batch, features] activation, made contiguous.
Tensor of_levels(const Tensor& t, const char* name, ScalarType type, int64_t most,
                 int64_t features) {
  check_type(t, name, type);
  if (t.dim() != 4 || t.size(1) > most || t.size(3) != features)
    fail("expected ", name, " of shape [steps, levels, batch, ", features, "] with at most ", most,
         " levels, found ", shape_of(t));
  return made_contiguous(t);
}

std::tuple<Tensor, Tensor> forward(const Tensor& x, const Optional& s0, const Optional& mask,
                                   const Optional& bias, const Tensor& values,
                                   const Tensors& patterns, bool keep, const Optional& resets) {
  const Levels levels(patterns);
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    check_kernel(kernels.rhn_forward);
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t depth = levels.depth(), hidden = levels.hidden();
    const Tensor links = vector(values, "values", kType<T>, levels.nnz());
    const Tensor input = of_levels(x, "x", kType<A>, depth, levels.rows());
    const int64_t steps = input.size(0), fed = input.size(1), batch = input.size(2);
    if (steps == 0) fail("expected x of at least one time step, found none");
    const Optional start = state(s0, "s0", kType<A>, batch, hidden);
    const Optional factor = state(mask, "mask", kType<T>, batch, hidden);
    const Optional begins = resets_of(resets, steps, batch);
    Optional offset;
    if (bias) {
      check_type(*bias, "bias", kType<T>);
      check_shape(*bias, "bias", {depth, levels.rows()});
      offset = made_contiguous(*bias);
    }
    Result<A> y(links, {steps, batch, hidden});
    Result<A> saved(links, {steps, depth, batch, levels.saved()}, keep);
    if (y.tensor().numel() > 0) {
      const ReadableLevels<T> weights(levels, data<T>(links), false);
      kernels.rhn_forward({weights.data(), depth, fed, data<A>(input), data_or_null<A>(start),
                           data_or_null<T>(factor), data_or_null<T>(offset), y.data(), saved.data(),
                           steps, batch, threads(), data_or_null<bool>(begins)});
    }
    return std::tuple(y.tensor(), saved.tensor());
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor> backward(const Tensor& dy, const Tensor& saved,
                                                    const Optional& mask, const Tensor& values,
                                                    const Tensors& patterns, int64_t fed,
                                                    bool wants_x, bool wants_s0, bool wants_values,
                                                    const Optional& resets) {
  const Levels levels(patterns);
  return with_activations(values, saved, [&](auto real, auto kept, const auto& kernels) {
    check_kernel(kernels.rhn_backward);
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t depth = levels.depth(), hidden = levels.hidden(), rows = levels.rows();
    if (fed < 0 || fed > depth) fail("expected fed in [0, ", depth, "], found ", fed);
    const Tensor links = vector(values, "values", kType<T>, levels.nnz());
    const Layout layout(dy, "dy", std::nullopt, hidden);
    const Tensor gradient = layout(dy, "dy", kType<A>, hidden);
    const int64_t steps = layout.steps, batch = layout.batch;
    const Tensor states = of_levels(saved, "saved", kType<A>, depth, levels.saved());
    check_shape(states, "saved", {steps, depth, batch, levels.saved()});
    const Optional factor = state(mask, "mask", kType<T>, batch, hidden);
    const Optional begins = resets_of(resets, steps, batch);
    Result<A> dx(links, {steps, fed, batch, rows}, wants_x), ds0(links, {batch, hidden}, wants_s0);
    Result<T> dbias(links, {depth, rows}), dvalues(links, {levels.nnz()}, wants_values);
    if (gradient.numel() > 0) {
      const ReadableLevels<T> weights(levels, data<T>(links), true);
      kernels.rhn_backward({weights.data(), depth, fed, data_or_null<T>(factor), data<A>(states),
                            data<A>(gradient), dx.data(), ds0.data(), dbias.data(), dvalues.data(),
                            steps, batch, threads(), data_or_null<bool>(begins)});
    } else {
      clear(ds0, dbias, dvalues);
    }
    return std::tuple(dx.tensor(), ds0.tensor(), dbias.tensor(), dvalues.tensor());
  });
}

}  // namespace

SPARSE_ENGINE_OPERATION("rhn_forward", forward,
                        "(Tensor x, Tensor? s0, Tensor? mask, Tensor? bias, Tensor values, "
                        "Tensor[] pattern, bool keep, Tensor? resets=None) -> "
                        "(Tensor y, Tensor saved)")
SPARSE_ENGINE_OPERATION("rhn_backward", backward,
                        "(Tensor dy, Tensor saved, Tensor? mask, Tensor values, Tensor[] pattern, "
                        "int fed, bool wants_x, bool wants_s0, bool wants_values, "
                        "Tensor? resets=None) -> "
                        "(Tensor dx, Tensor ds0, Tensor dbias, Tensor dvalues)")

}  // namespace sparse_engine::bindings
