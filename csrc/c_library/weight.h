// A weight of a network, sparse or dense, as the kernels read it.
#pragma once

#include <string>
#include <vector>

#include "safetensors.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine::c_library {

class Weight {
 public:
  // Reads the weight of this name from the file. `cols` may be 0 where the weight is dense.
  Weight(const Safetensors& file, const std::string& name, int64_t cols);

  // The names of its tensors.
  static std::vector<std::string> names(const Safetensors& file, const std::string& name);

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  bool is_dense() const { return ptr_.empty(); }

  // Its links; of a dense weight after fill() only.
  Csr csr() const { return {ptr_.data(), idx_.data(), rows_, cols_, ptr_.back()}; }
  const float* values() const { return values_.data(); }

  // Makes links of all entries of a dense weight.
  void fill();

 private:
  int64_t rows_, cols_;
  std::vector<int64_t> ptr_;
  std::vector<int32_t> idx_;
  std::vector<float> values_;
};

// A vector of `size` numbers, or nothing where the file has none of this name.
std::vector<float> optional_vector(const Safetensors& file, const std::string& name, int64_t size);

}  // namespace sparse_engine::c_library
