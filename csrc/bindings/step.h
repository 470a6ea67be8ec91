// One time step of a network of one direction, for streams: all layers in one call, which returns
// no gradients. With sparse input weights, its results have the bits of the layers' operations over
// sequences of one step.
#pragma once

#include <algorithm>
#include <array>

#include "dense.h"
#include "sequence.h"

namespace sparse_engine::bindings {

// The properties of a cell that network_step() needs.
struct CellShape {
  int64_t gates;
  size_t states;     // h, and c if there is one
  bool adds_biases;  // whether only the sum of the two biases of a unit matters
};

// h, and c or null.
template <typename T>
using States = std::array<T*, 2>;

// One layer at one step, as kernels take it. All arrays are contiguous.
template <typename T>
struct LayerStep {
  const Csr& w;            // [gates * hidden x hidden]
  const T* values;         // [nnz]
  const T* bias;           // [gates * hidden] or null
  const T* x;              // [batch, inputs], or without w_input its product
  const T* w_input;        // [gates * hidden, inputs] or null
  const T* b_input;        // [gates * hidden] or null
  States<const T> before;  // [batch, hidden] each, or null for zeros
  States<T> now;           // the same, written
  int64_t batch, inputs;
  int threads;
  bool* out_of_range;
};

// The parameters of all layers in one list. Those of a layer are values, crow and col of the
// recurrent weight; the same of the input weight, or that as a dense matrix; and where there are
// biases, the one of the input's contribution and the recurrent one.
class Parameters {
 public:
  explicit Parameters(const Tensors& list) : list_(list) {}

  bool done() const { return at_ == list_.size(); }
  const Tensor& peek() const {
    if (done()) fail("expected more than ", list_.size(), " parameters");
    return list_[at_];
  }
  const Tensor& next() {
    const Tensor& found = peek();
    ++at_;
    return found;
  }

 private:
  const Tensors& list_;
  size_t at_ = 0;
};

// The links of a weight, and their values.
struct SparseMatrix {
  SparseMatrix(Parameters& from, ScalarType type, int64_t rows, int64_t cols)
      : SparseMatrix(from.next(), from, type, rows, cols) {}

  Given links;
  Tensor values;

 private:
  SparseMatrix(const Tensor& entries, Parameters& from, ScalarType type, int64_t rows, int64_t cols)
      : links(links_of(from, rows, cols)),
        values(vector(entries, "values", type, links.csr.nnz())) {}

  static Given links_of(Parameters& from, int64_t rows, int64_t cols) {
    const Tensor &crow = from.next(), &col = from.next();
    const Given links = given(crow, col, cols);
    check_shape(crow, "crow_indices", {rows + 1});
    check_ends(links);
    return links;
  }
};

// One layer's weights and biases.
template <typename T>
class Layer {
 public:
  Layer(Parameters& from, const CellShape& cell, int64_t hidden, int64_t inputs, bool bias)
      : rows_(cell.gates * hidden), recurrent_(from, kType<T>, rows_, hidden) {
    if (from.peek().dim() == 2) {
      dense_ = input_weight(from.next(), kType<T>, rows_);
      check_shape(*dense_, "w_input", {rows_, inputs});
    } else {
      sparse_.emplace(from, kType<T>, rows_, inputs);
    }
    if (!bias) return;
    b_input_ = vector(from.next(), "b_input", kType<T>, rows_);
    b_recurrent_ = vector(from.next(), "bias", kType<T>, rows_);
  }

  // Calls run() with the step from `before` to `now`, for the input x [batch, inputs].
  template <class Run>
  void step(const T* x, int64_t batch, int64_t inputs, const States<const T>& before,
            const States<T>& now, const CellShape& cell, const Run& run) const {
    const bool adds = cell.adds_biases && b_input_;
    Scratch scratch(Scratch::bytes_of<T>(sparse_ ? batch * rows_ : 0) +
                    Scratch::bytes_of<T>(adds ? rows_ : 0));
    const T* offset = data_or_null<T>(b_recurrent_);
    const T* input_offset = data_or_null<T>(b_input_);
    if (adds) {
      T* sum = scratch.take<T>(rows_);
      for (int64_t row = 0; row < rows_; ++row) sum[row] = input_offset[row] + offset[row];
      offset = sum, input_offset = nullptr;
    }
    const int most_threads = threads();
    bool out_of_range = false;
    if (sparse_) {
      T* product = scratch.take<T>(batch * rows_);
      const Links w(sparse_->links, Check::kPointers);
      kernels<T>().spmm({w.csr(), data<T>(sparse_->values), nullptr, input_offset,
                         columns_of(x, batch, inputs), columns_of(product, batch, rows_), batch,
                         most_threads, &out_of_range});
      x = product, inputs = rows_, input_offset = nullptr;
    }
    const Links w(recurrent_.links, Check::kPointers);
    run(LayerStep<T>{w.csr(), data<T>(recurrent_.values), offset, x, data_or_null<T>(dense_),
                     input_offset, before, now, batch, inputs, most_threads, &out_of_range});
    if (out_of_range) fail_of_range();
  }

 private:
  [[noreturn]] void fail_of_range() const {
    Links(recurrent_.links, Check::kIndices);
    if (sparse_) Links(sparse_->links, Check::kIndices);
    fail("expected a pattern that nobody writes to during an operation, found one that changes");
  }

  int64_t rows_;
  SparseMatrix recurrent_;
  std::optional<SparseMatrix> sparse_;
  Optional dense_, b_input_, b_recurrent_;
};

// Returns the output and every state after a step from the states in `before`, of which there are
// none for zeros. x is [batch, inputs] or [inputs], a state [layers, batch, hidden] or [layers,
// hidden].
template <class Run>
Tensors network_step(const Tensor& x, const Tensors& before, const Tensors& parameters,
                     int64_t layers, int64_t hidden, bool bias, const CellShape& cell,
                     const Run& run) {
  return with_real(x, "x", [&](auto zero) {
    using T = decltype(zero);
    constexpr int64_t kMost = (int64_t{1} << 31) - 1;
    if (layers < 1 || layers > kMost || hidden < 1 || hidden > kMost)
      fail("expected numbers of layers and of units in [1, 2^31), found ", layers, " and ", hidden);
    check_type(x, "x", kType<T>);
    if ((x.dim() != 1 && x.dim() != 2) || x.numel() == 0)
      fail("expected x of shape [batch, inputs] or [inputs] without zeros, found ", shape_of(x));
    const Tensor input = made_contiguous(x);
    const bool single = x.dim() == 1;
    const int64_t batch = single ? 1 : x.size(0), size = batch * hidden;
    const std::vector<int64_t> one = single ? std::vector{hidden} : std::vector{batch, hidden};
    std::vector<int64_t> all = one;
    all.insert(all.begin(), layers);
    if (!before.empty() && before.size() != cell.states)
      fail("expected ", cell.states, " states or none, found ", before.size());
    Tensors starts, results{empty(x, one)};
    for (const Tensor& state : before) {
      check_type(state, "state", kType<T>);
      check_shape(state, "state", all);
      starts.push_back(made_contiguous(state));
    }
    for (size_t s = 0; s < cell.states; ++s) results.push_back(empty(x, all));

    Parameters from(parameters);
    const T* output = data<T>(input);
    int64_t outputs = x.size(x.dim() - 1);
    for (int64_t l = 0; l < layers; ++l) {
      const Layer<T> layer(from, cell, hidden, outputs, bias);
      States<const T> then{};
      States<T> now{};
      for (size_t s = 0; s < cell.states; ++s) {
        if (!starts.empty()) then[s] = data<T>(starts[s]) + l * size;
        now[s] = mutable_data<T>(results[1 + s]) + l * size;
      }
      layer.step(output, batch, outputs, then, now, cell, run);
      output = now[0], outputs = hidden;
    }
    if (!from.done()) fail("expected parameters of ", layers, " layers, found more");
    std::copy(output, output + size, mutable_data<T>(results[0]));
    return results;
  });
}

}  // namespace sparse_engine::bindings
