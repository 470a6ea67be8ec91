// rhn_forward and rhn_backward.
#include <deque>
#include <tuple>

#include "pattern.h"
#include "sequence.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine::bindings {
namespace {

// The weights of all levels. Each is five tensors, as a single pattern is; their values lie one
// after the other.
class Levels {
 public:
  explicit Levels(const std::vector<Tensor>& tensors) {
    if (tensors.empty() || tensors.size() % kEach != 0)
      fail("expected five tensors for the pattern of each level, found ", tensors.size());
    for (size_t i = 0; i < tensors.size(); i += kEach)
      patterns_.emplace_back(tensors[i], tensors[i + 1], tensors[i + 2], tensors[i + 3],
                             tensors[i + 4]);
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
  static constexpr size_t kEach = 5;

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

std::tuple<Tensor, Tensor> rhn_forward(const Tensor& x, const std::optional<Tensor>& s0,
                                       const std::optional<Tensor>& mask,
                                       const std::optional<Tensor>& bias, const Tensor& values,
                                       const std::vector<Tensor>& patterns, bool keep) {
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
    const std::optional<Tensor> start = state(s0, "s0", kType<A>, batch, hidden);
    const std::optional<Tensor> factor = state(mask, "mask", kType<T>, batch, hidden);
    std::optional<Tensor> offset;
    if (bias) {
      check_type(*bias, "bias", kType<T>);
      check_shape(*bias, "bias", {depth, levels.rows()});
      offset = made_contiguous(*bias);
    }
    Tensor y = empty(input, {steps, batch, hidden});
    Tensor saved = empty(input, {keep ? steps : 0, depth, batch, levels.saved()});
    if (y.numel() == 0) return std::tuple(y, saved);
    const ReadableLevels<T> weights(levels, data<T>(links), false);
    kernels.rhn_forward({weights.data(), depth, fed, data<A>(input), data_or_null<A>(start),
                         data_or_null<T>(factor), data_or_null<T>(offset), mutable_data<A>(y),
                         keep ? mutable_data<A>(saved) : nullptr, steps, batch, threads()});
    return std::tuple(y, saved);
  });
}

// What is not wanted comes back empty.
std::tuple<Tensor, Tensor, Tensor, Tensor> rhn_backward(const Tensor& dy, const Tensor& saved,
                                                        const std::optional<Tensor>& mask,
                                                        const Tensor& values,
                                                        const std::vector<Tensor>& patterns,
                                                        int64_t fed, bool wants_x, bool wants_s0,
                                                        bool wants_values) {
  const Levels levels(patterns);
  return with_activations(values, saved, [&](auto real, auto kept, const auto& kernels) {
    check_kernel(kernels.rhn_backward);
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t depth = levels.depth(), hidden = levels.hidden(), rows = levels.rows();
    if (fed < 0 || fed > depth) fail("expected fed in [0, ", depth, "], found ", fed);
    const Tensor links = vector(values, "values", kType<T>, levels.nnz());
    const Tensor gradient = sequence(dy, "dy", kType<A>, hidden);
    const int64_t steps = gradient.size(0), batch = gradient.size(1);
    const Tensor states = of_levels(saved, "saved", kType<A>, depth, levels.saved());
    check_shape(states, "saved", {steps, depth, batch, levels.saved()});
    const std::optional<Tensor> factor = state(mask, "mask", kType<T>, batch, hidden);
    Tensor dx = empty(gradient, {wants_x ? steps : 0, fed, batch, rows});
    Tensor ds0 = empty(gradient, {wants_s0 ? batch : 0, hidden});
    Tensor dbias = empty(links, {depth, rows});
    Tensor dvalues = empty(links, {wants_values ? levels.nnz() : 0});
    if (gradient.numel() == 0) {
      for (Tensor* t : {&ds0, &dbias, &dvalues}) torch::stable::zero_(*t);
      return std::tuple(dx, ds0, dbias, dvalues);
    }
    const ReadableLevels<T> weights(levels, data<T>(links), true);
    kernels.rhn_backward({weights.data(), depth, fed, data_or_null<T>(factor), data<A>(states),
                          data<A>(gradient), wants_x ? mutable_data<A>(dx) : nullptr,
                          wants_s0 ? mutable_data<A>(ds0) : nullptr, mutable_data<T>(dbias),
                          wants_values ? mutable_data<T>(dvalues) : nullptr, steps, batch,
                          threads()});
    return std::tuple(dx, ds0, dbias, dvalues);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "rhn_forward(Tensor x, Tensor? s0, Tensor? mask, Tensor? bias, Tensor values, Tensor[] "
      "patterns, bool keep) -> (Tensor, Tensor)");
  m.def(
      "rhn_backward(Tensor dy, Tensor saved, Tensor? mask, Tensor values, Tensor[] patterns, int "
      "fed, bool wants_x, bool wants_s0, bool wants_values) -> (Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  SPARSE_ENGINE_IMPL(m, "rhn_forward", rhn_forward);
  SPARSE_ENGINE_IMPL(m, "rhn_backward", rhn_backward);
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("rhn_forward", SPARSE_ENGINE_CUDA_BOX(&rhn_forward));
  m.impl("rhn_backward", SPARSE_ENGINE_CUDA_BOX(&rhn_backward));
}

}  // namespace sparse_engine::bindings
