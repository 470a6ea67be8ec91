#include "weight.h"

#include <limits>

#include "error.h"
#include "sparse_engine/pattern.h"

namespace sparse_engine::c_library {
namespace {

constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

void check_cols(const std::string& name, int64_t cols, int64_t found) {
  if (cols > 0 && cols != found)
    fail(SE_ERROR_ARGUMENT, "expected ", name, " of ", cols, " columns, found ", found);
}

}  // namespace

std::vector<std::string> Weight::names(const Safetensors& file, const std::string& name) {
  if (file.has(name)) return {name};
  if (file.has(name + ".codes"))
    fail(SE_ERROR_UNSUPPORTED, "expected a weight of float32, found ", name,
         ", which is quantized");
  return {name + ".values", name + ".crow_indices", name + ".col_indices"};
}

Weight::Weight(const Safetensors& file, const std::string& name, int64_t cols) : cols_(cols) {
  const std::vector<std::string> names = Weight::names(file, name);
  if (names.size() == 1) {
    std::vector<int64_t> shape;
    values_ = file.floats(name, 2, &shape);
    check_cols(name, cols, shape[1]);
    rows_ = shape[0], cols_ = shape[1];
    if (rows_ < 1 || cols_ < 1)  // of a size that the data do not bound
      fail(SE_ERROR_FORMAT, "expected ", name, " of at least one row and column, found ", rows_,
           " and ", cols_);
    if (rows_ > kMost || cols_ > kMost || static_cast<int64_t>(values_.size()) > kMost)
      fail(SE_ERROR_UNSUPPORTED, "expected fewer than 2^31 entries of ", name, ", found more");
    return;
  }
  values_ = file.floats(names[0], 1);
  ptr_ = file.longs(names[1]);
  idx_ = file.ints(names[2]);
  if (cols <= 0)
    fail(SE_ERROR_ARGUMENT, "expected the number of inputs, which the sparse weight ", name,
         " does not tell, found ", cols);
  rows_ = static_cast<int64_t>(ptr_.size()) - 1;
  const int64_t links = static_cast<int64_t>(idx_.size());
  if (rows_ < 0 || rows_ > kMost || cols > kMost || links > kMost)
    fail(SE_ERROR_FORMAT, "expected ", name, " of 0 to 2^31 - 1 rows, columns and links, found ",
         rows_, ", ", cols, " and ", links);
  if (values_.size() != idx_.size())
    fail(SE_ERROR_FORMAT, "expected as many values as links of ", name, ", found ", values_.size(),
         " and ", links);
  const std::string wrong = what_is_wrong({ptr_.data(), idx_.data(), rows_, cols, links}, links);
  if (!wrong.empty()) fail(SE_ERROR_FORMAT, name, ": ", wrong);
}

void Weight::fill() {
  if (!is_dense()) return;
  for (int64_t row = 0; row <= rows_; ++row) ptr_.push_back(row * cols_);
  idx_.resize(values_.size());
  for (size_t p = 0; p < idx_.size(); ++p) idx_[p] = static_cast<int32_t>(p % cols_);
}

std::vector<float> optional_vector(const Safetensors& file, const std::string& name, int64_t size) {
  if (!file.has(name)) return {};
  std::vector<float> found = file.floats(name, 1);
  if (static_cast<int64_t>(found.size()) != size)
    fail(SE_ERROR_FORMAT, "expected ", name, " of shape [", size, "], found [", found.size(), "]");
  return found;
}

}  // namespace sparse_engine::c_library
