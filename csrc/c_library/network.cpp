#include "network.h"

#include <omp.h>

#include <algorithm>
#include <limits>
#include <set>

#include "error.h"
#include "runtime/memory.h"
#include "sparse_engine/kernels.h"
#include "sparse_engine/threads.h"

namespace sparse_engine::c_library {
namespace {

const float* or_null(const std::vector<float>& numbers) {
  return numbers.empty() ? nullptr : numbers.data();
}

// y = x W^T + b, for `rows` samples.
void multiply(const Weight& weight, const float* bias, const float* x, int64_t rows, float* y) {
  kernels<float>().spmm({weight.csr(),
                         weight.values(),
                         nullptr,
                         bias,
                         {x, 1, weight.cols()},
                         {y, 1, weight.rows()},
                         rows,
                         threads()});
}

se_kind checked(int kind) {
  if (kind < SE_RNN_TANH || kind > SE_GRU)
    fail(SE_ERROR_ARGUMENT, "expected a kind of network in [0, ", int{SE_GRU}, "], found ", kind);
  return static_cast<se_kind>(kind);
}

int64_t gates_of(se_kind kind) {
  switch (kind) {
    case SE_RNN_TANH:
    case SE_RNN_RELU:
      return 1;
    case SE_LSTM:
      return 4;
    case SE_GRU:
      break;
  }
  return 3;
}

}  // namespace

int threads() { return std::min(omp_get_max_threads(), most_threads()); }

Linear::Linear(const Safetensors& file, const std::string& name, int64_t in_features)
    : weight_(file, name.empty() ? "weight" : name + ".weight", in_features),
      bias_(optional_vector(file, name.empty() ? "bias" : name + ".bias", weight_.rows())) {
  weight_.fill();
}

void Linear::run(const float* x, int64_t rows, float* y) const {
  multiply(weight_, or_null(bias_), x, rows, y);
}

Recurrent::Recurrent(const Safetensors& file, const std::string& name, int kind, int64_t input_size)
    : kind_(checked(kind)) {
  const std::string prefix = name.empty() ? "" : name + ".";
  std::set<std::string> used;
  for (int64_t inputs = input_size;; inputs = hidden()) {
    const std::string suffix = "_l" + std::to_string(layers_.size());
    const auto own = Weight::names(file, prefix + "weight_hh" + suffix);
    if (!layers_.empty() && !file.has(own[0])) break;
    layers_.push_back(loaded(file, prefix, suffix, inputs));
    for (const char* kind_of_weight : {"weight_ih", "weight_hh"})
      for (const auto& each : Weight::names(file, prefix + kind_of_weight + suffix))
        used.insert(each);
    used.insert(prefix + "bias_ih" + suffix), used.insert(prefix + "bias_hh" + suffix);
  }
  for (const auto& entry : file.header()) {
    const std::string& found = entry.first;
    const bool own = found.compare(0, prefix.size(), prefix) == 0;
    if (own && !used.count(found) && (!prefix.empty() || found.find("_l") != std::string::npos))
      fail(SE_ERROR_UNSUPPORTED,
           "expected the weights and biases of a network in one direction, without projection and "
           "layer normalisation, found ",
           found);
  }
}

Recurrent::Layer Recurrent::loaded(const Safetensors& file, const std::string& prefix,
                                   const std::string& suffix, int64_t inputs) const {
  const std::string input = prefix + "weight_ih" + suffix, state = prefix + "weight_hh" + suffix;
  const auto tensors = Weight::names(file, state);
  if (!file.has(tensors[0])) fail(SE_ERROR_MISSING, "expected a tensor called ", tensors[0]);
  const auto& rows_of = file.header().find(tensors.size() == 1 ? state : tensors[1]);
  if (rows_of == file.header().end() || rows_of->second.shape.empty())
    fail(SE_ERROR_MISSING, "expected a tensor called ", tensors[1], " of one dimension");
  const int64_t gates = gates_of(kind_);
  const int64_t rows = rows_of->second.shape[0] - (tensors.size() == 1 ? 0 : 1);
  if (rows < gates || rows % gates != 0)
    fail(SE_ERROR_FORMAT, "expected ", state, " with a multiple of ", gates, " rows, found ", rows);
  const int64_t hidden = rows / gates;
  if (!layers_.empty() && hidden != this->hidden())
    fail(SE_ERROR_FORMAT, "expected layers of one size, ", this->hidden(), ", found ", hidden);
  Layer layer{Weight(file, input, inputs), Weight(file, state, hidden),
              optional_vector(file, prefix + "bias_ih" + suffix, rows),
              optional_vector(file, prefix + "bias_hh" + suffix, rows)};
  if (layer.input.rows() != rows || layer.recurrent.rows() != rows)
    fail(SE_ERROR_FORMAT, "expected ", input, " of ", rows, " rows, found ", layer.input.rows());
  if (layer.input_bias.empty() != layer.bias.empty())
    fail(SE_ERROR_MISSING, "expected both biases of ", state, " or none, found one");
  layer.recurrent.fill();
  if (kind_ != SE_GRU) {  // whose candidate reads both apart
    for (size_t r = 0; r < layer.bias.size(); ++r) layer.bias[r] += layer.input_bias[r];
    layer.input_bias.clear();
  }
  return layer;
}

void Recurrent::run_layer(const Layer& layer, const float* x, int64_t steps, int64_t batch,
                          const float* h, const float* c, float* y, float* c_n) const {
  const Weight& input = layer.input;
  const int64_t rows = input.rows();
  const int64_t products = input.is_dense() ? 0 : steps * batch * rows;
  Scratch scratch(Scratch::bytes_of<float>(products));
  float* z = scratch.take<float>(products);
  if (products) multiply(input, or_null(layer.input_bias), x, steps * batch, z);
  const float* from = products ? z : x;
  const float* dense = products ? nullptr : input.values();
  const int64_t inputs = products ? rows : input.cols();
  const Csr w = layer.recurrent.csr();
  const float* values = layer.recurrent.values();
  const auto& of = kernels<float>();
  if (kind_ == SE_RNN_TANH || kind_ == SE_RNN_RELU)
    return of.rnn_forward({w, values, or_null(layer.bias), from, dense, h, y, nullptr, steps, batch,
                           inputs, kind_ == SE_RNN_RELU ? Activation::kRelu : Activation::kTanh,
                           threads()});
  const float* input_bias = products ? nullptr : or_null(layer.input_bias);
  const GatedForward<float> gated{w,
                                  values,
                                  or_null(layer.bias),
                                  from,
                                  dense,
                                  input_bias,
                                  h,
                                  c,
                                  y,
                                  c_n,
                                  nullptr,
                                  nullptr,
                                  steps,
                                  batch,
                                  inputs,
                                  {},
                                  std::numeric_limits<float>::infinity(),
                                  threads()};
  (has_memory() ? of.lstm_forward : of.gru_forward)(gated);
}

void Recurrent::run(const float* x, int64_t steps, int64_t batch, float* h, float* c,
                    float* y) const {
  const int64_t state = batch * hidden(), all = steps * state;
  const int64_t between = layers() > 1 ? all : 0, memory = has_memory() ? state : 0;
  Scratch scratch(2 * Scratch::bytes_of<float>(between) + Scratch::bytes_of<float>(memory));
  float* const turns[2] = {scratch.take<float>(between), scratch.take<float>(between)};
  float* const c_n = scratch.take<float>(memory);
  for (int64_t l = 0; l < layers(); ++l) {
    float* to = l + 1 == layers() ? y : turns[l % 2];
    const float* h0 = h ? h + l * state : nullptr;
    const float* c0 = c ? c + l * state : nullptr;
    run_layer(layers_[l], x, steps, batch, h0, c0, to, memory ? c_n : nullptr);
    if (h) std::copy_n(to + all - state, state, h + l * state);
    if (c) std::copy_n(c_n, state, c + l * state);
    x = to;
  }
}

}  // namespace sparse_engine::c_library
