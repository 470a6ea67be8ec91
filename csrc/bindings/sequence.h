// Arguments that all recurrent cells take.
#pragma once

#include <limits>

#include "pattern.h"

namespace sparse_engine::bindings {

// That no dense weights are given on a CUDA device, where their products are PyTorch's.
inline void check_multiplied(const char* found) {
  if (OnCuda::here()) fail("expected a product with dense weights on a CUDA device, found ", found);
}

// A [steps, batch, features] activation, made contiguous.
inline Tensor sequence(const Tensor& t, const char* name, ScalarType type, int64_t features) {
  check_type(t, name, type);
  if (t.dim() != 3 || t.size(2) != features)
    fail("expected ", name, " of shape [steps, batch, ", features, "], found ", shape_of(t));
  return made_contiguous(t);
}

// How the rows of a layer's activations belong to its steps: [steps, batch, features], or with
// batch sizes (as of a PackedSequence) [rows, features].
class Layout {
 public:
  // That of x, or of another activation.
  Layout(const Tensor& x, const char* name, const Optional& batch_sizes, int64_t features) {
    const bool packed = batch_sizes.has_value();
    if (x.dim() != (packed ? 2 : 3) || x.size(x.dim() - 1) != features)
      fail("expected ", name, " of shape [", packed ? "rows, " : "steps, batch, ", features,
           "], found ", shape_of(x));
    if (packed)
      read(*batch_sizes, x, name);
    else
      steps = x.size(0), batch = x.size(1);
  }

  int64_t steps, batch;

  const int64_t* first_row() const { return first_row_.empty() ? nullptr : first_row_.data(); }

  // The shape of an activation.
  std::vector<int64_t> shape(int64_t features) const {
    if (first_row_.empty()) return {steps, batch, features};
    return {first_row_.back(), features};
  }

  // An activation, made contiguous.
  Tensor operator()(const Tensor& t, const char* name, ScalarType type, int64_t features) const {
    check_type(t, name, type);
    check_shape(t, name, shape(features));
    return made_contiguous(t);
  }

  // The input of which w_input's gradient is wanted, or nothing.
  Optional input(const Optional& x, ScalarType type) const {
    if (!x) return std::nullopt;
    check_multiplied("x beside it");
    return (*this)(*x, "x", type, x->dim() > 0 ? x->size(x->dim() - 1) : 0);
  }

 private:
  static constexpr int64_t kMostRows = int64_t{1} << 62;

  void read(const Tensor& batch_sizes, const Tensor& x, const char* name) {
    if (!batch_sizes.is_cpu())
      fail("expected batch_sizes on the CPU, as a PackedSequence has them, found them elsewhere");
    check_dtype(batch_sizes, "batch_sizes", ScalarType::Long);
    check_memory(batch_sizes, "batch_sizes");
    if (batch_sizes.dim() != 1 || !batch_sizes.is_contiguous())
      fail("expected contiguous batch_sizes of shape [steps], found ", shape_of(batch_sizes));
    const int64_t* sizes = data<int64_t>(batch_sizes);
    steps = batch_sizes.numel(), batch = steps > 0 ? sizes[0] : 0;
    first_row_.push_back(0);
    for (int64_t t = 0; t < steps; ++t) {
      if (sizes[t] < 1 || sizes[t] > batch || (t > 0 && sizes[t] > sizes[t - 1]))
        fail("expected batch_sizes of at least 1 that never grow, found ", sizes[t],
             " at position ", t);
      if (first_row_.back() > kMostRows - sizes[t])
        fail("expected batch_sizes that add up to less than 2^62, found more at position ", t);
      first_row_.push_back(first_row_.back() + sizes[t]);
    }
    if (first_row_.back() != x.size(0))
      fail("expected ", name, " of ", first_row_.back(), " rows, as batch_sizes add up to, found ",
           x.size(0));
  }

  std::vector<int64_t> first_row_;
};

// The state of all units at one step, made contiguous.
inline Optional state(const Optional& t, const char* name, ScalarType type, int64_t batch,
                      int64_t hidden) {
  if (!t) return std::nullopt;
  check_type(*t, name, type);
  check_shape(*t, name, {batch, hidden});
  return made_contiguous(*t);
}

// Where episodes begin, [steps, batch], made contiguous.
inline Optional resets_of(const Optional& t, int64_t steps, int64_t batch,
                          const Optional& batch_sizes = std::nullopt) {
  if (!t) return std::nullopt;
  if (batch_sizes) fail("expected no resets beside batch_sizes, found both");
  check_type(*t, "resets", ScalarType::Bool);
  check_shape(*t, "resets", {steps, batch});
  const Tensor begins = made_contiguous(*t);
  if (!OnCuda::here()) check_bytes(begins, "resets");
  return begins;
}

// The dense input weights of `rows` rows, made contiguous.
inline Optional input_weight(const Optional& t, ScalarType type, int64_t rows) {
  if (!t) return std::nullopt;
  check_multiplied("w_input");
  check_type(*t, "w_input", type);
  if (t->dim() != 2 || t->size(0) != rows)
    fail("expected w_input of shape [", rows, ", inputs], found ", shape_of(*t));
  if (t->size(1) == 0) fail("expected w_input of at least one input, found none");
  return made_contiguous(*t);
}

// The limit of a state; where there is none, which no infinity in a schema says, for a packaged
// program is written as JSON.
inline double bound(const std::optional<double>& clip) {
  return clip.value_or(std::numeric_limits<double>::infinity());
}

// Raises ValueError for a weight that cannot be recurrent by itself.
inline void check_square(const Pattern& w) {
  if (w.rows() != w.cols())
    fail("expected a square recurrent weight, found ", w.rows(), " x ", w.cols());
}

// Both or neither of the initial states are given.
inline void check_both(const Optional& h0, const Optional& c0) {
  if (h0.has_value() != c0.has_value()) fail("expected both h0 and c0 or neither, found one");
}

// Not every cell keeps activations in bfloat16 on a CUDA device, too.
template <class Args>
void check_kernel(void (*kernel)(const Args&)) {
  if (kernel == nullptr)
    fail("expected activations of dtype float32 on a CUDA device, found bfloat16");
}

}  // namespace sparse_engine::bindings
