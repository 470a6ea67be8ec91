// Argument checks shared by all operations. Each says what was expected and what came.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda.h"
#include "memory.h"
#include "sparse_engine/kernels.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine::bindings {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Raises ValueError in Python.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

inline std::string shape_of(const Tensor& t) {
  std::string text = "[";
  for (int64_t d = 0; d < t.dim(); ++d) text += (d ? ", " : "") + std::to_string(t.size(d));
  return text + "]";
}

inline const char* name_of(ScalarType type) {
  switch (type) {
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Bool:
      return "bool";
    default:
      return "another dtype";
  }
}

inline void check_dtype(const Tensor& t, const char* name, ScalarType type) {
  if (t.scalar_type() != type)
    fail("expected ", name, " of dtype ", name_of(type), ", found ", name_of(t.scalar_type()));
}

// The dtype, and that the tensor is where the operation runs.
inline void check_type(const Tensor& t, const char* name, ScalarType type) {
  if (OnCuda::here() ? !t.is_cuda() : !t.is_cpu())
    fail("expected ", name, OnCuda::here() ? " on a CUDA device" : " on the CPU",
         ", found a tensor on another device");
  check_dtype(t, name, type);
}

inline void check_shape(const Tensor& t, const char* name, std::vector<int64_t> shape) {
  bool same = t.dim() == static_cast<int64_t>(shape.size());
  for (size_t d = 0; same && d < shape.size(); ++d) same = t.size(d) == shape[d];
  if (same) return;
  std::string text;
  for (size_t d = 0; d < shape.size(); ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  fail("expected ", name, " of shape [", text, "], found ", shape_of(t));
}

// A vector of `length` entries, made contiguous.
inline Tensor vector(const Tensor& t, const char* name, ScalarType type, int64_t length) {
  check_type(t, name, type);
  check_shape(t, name, {length});
  return torch::stable::contiguous(t);
}

inline std::optional<Tensor> vector(const std::optional<Tensor>& t, const char* name,
                                    ScalarType type, int64_t length) {
  if (!t) return std::nullopt;
  return vector(*t, name, type, length);
}

// Index vectors are never copied: they are as large as the values and always made contiguous.
inline void check_indices(const Tensor& t, const char* name, ScalarType type, int64_t length) {
  check_type(t, name, type);
  check_shape(t, name, {length});
  if (!t.is_contiguous()) fail("expected ", name, " to be contiguous");
}

inline int threads() { return static_cast<int>(torch::stable::get_num_threads()); }

template <typename T>
constexpr ScalarType kType = sizeof(T) == 8   ? ScalarType::Double
                             : sizeof(T) == 4 ? ScalarType::Float
                                              : ScalarType::BFloat16;

// Calls body(T()) for the floating type of `values`.
template <class Body>
auto with_real(const Tensor& values, const char* name, const Body& body) {
  if (values.scalar_type() == ScalarType::Float) return body(float());
  if (values.scalar_type() == ScalarType::Double) return body(double());
  fail("expected ", name, " of dtype float32 or float64, found ", name_of(values.scalar_type()));
}

// Calls body(T(), A(), kernels) for values of floating type T and activations kept as A: as T, or
// as BFloat16 with float32 values.
template <class Body>
auto with_activations(const Tensor& values, const Tensor& activations, const Body& body) {
  if (values.scalar_type() == ScalarType::Float &&
      activations.scalar_type() == ScalarType::BFloat16)
    return body(float(), BFloat16(), kernels<float, BFloat16>());
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    return body(zero, zero, kernels<T>());
  });
}

// Index tensors of `rows` x `cols` as a Csr. The indices themselves were validated when the
// pattern was made; what could make a kernel leave its arrays is checked again, where that needs no
// copy from a GPU.
inline Csr csr(const Tensor& crow, const Tensor& col, int64_t cols) {
  if (crow.dim() != 1 || crow.numel() < 1)
    fail("expected crow_indices of shape [out_features + 1], found ", shape_of(crow));
  check_indices(crow, "crow_indices", ScalarType::Long, crow.numel());
  check_indices(col, "col_indices", ScalarType::Int, col.numel());
  const Csr w{static_cast<const int64_t*>(crow.const_data_ptr()),
              static_cast<const int32_t*>(col.const_data_ptr()), crow.numel() - 1, cols,
              col.numel()};
  if (!OnCuda::here() && (w.ptr[0] != 0 || w.ptr[w.rows] != w.nnz()))
    fail("expected crow_indices to run from 0 to the ", w.nnz(), " links of col_indices, found ",
         w.ptr[0], " to ", w.ptr[w.rows]);
  return w;
}

template <typename T>
const T* data(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}

template <typename T>
T* mutable_data(Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

template <typename T>
const T* data_or_null(const std::optional<Tensor>& t) {
  return t ? data<T>(*t) : nullptr;
}

// An uninitialised tensor of the dtype and device of `like`, for results of any size.
inline Tensor empty(const Tensor& like, std::vector<int64_t> shape) {
  Tensor t = torch::stable::new_empty(like, shape);
  if (!OnCuda::here()) prefer_huge_pages(t.mutable_data_ptr(), t.numel() * t.element_size());
  return t;
}

}  // namespace sparse_engine::bindings
