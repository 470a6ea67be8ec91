// The networks of the C library: they own their weights and call the kernels of float32.
#pragma once

#include <string>
#include <vector>

#include "sparse_engine.h"
#include "weight.h"

namespace sparse_engine::c_library {

// Columns are samples: y = x W^T + b.
class Linear {
 public:
  Linear(const Safetensors& file, const std::string& name, int64_t in_features);

  int64_t inputs() const { return weight_.cols(); }
  int64_t outputs() const { return weight_.rows(); }
  void run(const float* x, int64_t rows, float* y) const;

 private:
  Weight weight_;
  std::vector<float> bias_;
};

class Recurrent {
 public:
  // Any number may come as the kind.
  Recurrent(const Safetensors& file, const std::string& name, int kind, int64_t input_size);

  int64_t inputs() const { return layers_.front().input.cols(); }
  int64_t hidden() const { return layers_.front().recurrent.cols(); }
  int64_t layers() const { return static_cast<int64_t>(layers_.size()); }
  bool has_memory() const { return kind_ == SE_LSTM; }
  void run(const float* x, int64_t steps, int64_t batch, float* h, float* c, float* y) const;

 private:
  struct Layer {
    Weight input, recurrent;
    // Added to the input's contribution, and to that of the state.
    std::vector<float> input_bias, bias;
  };

  Layer loaded(const Safetensors& file, const std::string& prefix, const std::string& suffix,
               int64_t inputs) const;
  void run_layer(const Layer& layer, const float* x, int64_t steps, int64_t batch, const float* h,
                 const float* c, float* y, float* c_n) const;

  se_kind kind_;
  std::vector<Layer> layers_;
};

// The number of threads of a call.
int threads();

}  // namespace sparse_engine::c_library
