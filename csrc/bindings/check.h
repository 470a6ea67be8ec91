// Argument checks shared by all operations. Each says what was expected and what came.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda.h"
#include "pooled.h"
#include "register.h"
#include "runtime/memory.h"
#include "sparse_engine/kernels.h"
#include "sparse_engine/matrix.h"
#include "sparse_engine/out_of_memory.h"
#include "sparse_engine/threads.h"

namespace sparse_engine::bindings {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Optional = std::optional<Tensor>;
using Tensors = std::vector<Tensor>;

// Raises ValueError in Python.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

inline std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t d = 0; d < shape.size(); ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + "]";
}

inline std::vector<int64_t> sizes_of(const Tensor& t) {
  std::vector<int64_t> sizes;
  for (int64_t d = 0; d < t.dim(); ++d) sizes.push_back(t.size(d));
  return sizes;
}

inline std::string shape_of(const Tensor& t) { return text_of(sizes_of(t)); }

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

// Bytes of an entry of a result.
inline size_t size_of(ScalarType type) {
  switch (type) {
    case ScalarType::Bool:
      return 1;
    case ScalarType::BFloat16:
      return 2;
    case ScalarType::Float:
    case ScalarType::Int:
      return 4;
    default:
      return 8;
  }
}

inline void check_dtype(const Tensor& t, const char* name, ScalarType type) {
  if (t.scalar_type() != type)
    fail("expected ", name, " of dtype ", name_of(type), ", found ", name_of(t.scalar_type()));
}

// That the entries are somewhere: the storage of a tensor can be taken away.
inline void check_memory(const Tensor& t, const char* name) {
  if (t.const_data_ptr() == nullptr && t.numel() > 0)
    fail("expected ", name, " with memory, found a tensor of shape ", shape_of(t), " without");
}

// The dtype, and that the tensor is where the operation runs.
inline void check_type(const Tensor& t, const char* name, ScalarType type) {
  if (OnCuda::here() ? !t.is_cuda() : !t.is_cpu())
    fail("expected ", name, OnCuda::here() ? " on a CUDA device" : " on the CPU",
         ", found a tensor on another device");
  if (OnCuda::here() && t.get_device_index() != OnCuda::index())
    fail("expected ", name, " on CUDA device ", OnCuda::index(), ", found it on ",
         t.get_device_index());
  check_dtype(t, name, type);
  check_memory(t, name);
}

inline void check_shape(const Tensor& t, const char* name, std::vector<int64_t> shape) {
  bool same = t.dim() == static_cast<int64_t>(shape.size());
  for (size_t d = 0; same && d < shape.size(); ++d) same = t.size(d) == shape[d];
  if (same) return;
  fail("expected ", name, " of shape ", text_of(shape), ", found ", shape_of(t));
}

// Returns what `allocate` returns. Where it fails, memory for `shape` entries of `size` bytes each
// was lacking, and the error says so.
template <class Allocate>
Tensor allocated(const std::vector<int64_t>& shape, size_t size, const Allocate& allocate) {
  try {
    return allocate();
  } catch (const std::exception&) {
    double bytes = static_cast<double>(size);
    for (const int64_t n : shape) bytes *= static_cast<double>(n);
    throw OutOfMemory(bytes, "a tensor of shape " + text_of(shape));
  }
}

// t, or a copy that is contiguous.
inline Tensor made_contiguous(const Tensor& t) {
  if (t.is_contiguous()) return t;
  return allocated(sizes_of(t), t.element_size(), [&] { return torch::stable::contiguous(t); });
}

// An uninitialised tensor of the device of `like`.
inline Tensor empty(const Tensor& like, const std::vector<int64_t>& shape, ScalarType type) {
  for (const int64_t n : shape)
    if (n < 0) fail("expected a result without a negative size, found ", text_of(shape));
  double bytes = static_cast<double>(size_of(type));
  for (const int64_t n : shape) bytes *= static_cast<double>(n);
  return allocated(shape, size_of(type), [&] {
    if (OnCuda::here()) return torch::stable::new_empty(like, shape, type);
    if (worth_pooling(bytes)) return pooled(shape, static_cast<size_t>(bytes), type);
    Tensor t = torch::stable::new_empty(like, shape, type);
    prefer_huge_pages(t.mutable_data_ptr(), static_cast<size_t>(bytes));
    return t;
  });
}

// The same, of the dtype of `like`.
inline Tensor empty(const Tensor& like, const std::vector<int64_t>& shape) {
  return empty(like, shape, like.scalar_type());
}

// A vector of `length` entries, made contiguous.
inline Tensor vector(const Tensor& t, const char* name, ScalarType type, int64_t length) {
  check_type(t, name, type);
  check_shape(t, name, {length});
  return made_contiguous(t);
}

inline Optional vector(const Optional& t, const char* name, ScalarType type, int64_t length) {
  if (!t) return std::nullopt;
  return vector(*t, name, type, length);
}

// Index vectors are never copied: they are as large as the values and always made contiguous.
inline void check_indices(const Tensor& t, const char* name, ScalarType type, int64_t length) {
  check_type(t, name, type);
  check_shape(t, name, {length});
  if (!t.is_contiguous()) fail("expected ", name, " to be contiguous");
}

// Threads of an operation: as many as torch's own operations have, within the process's quota.
inline int threads() {
  const int found = std::min(static_cast<int>(torch::stable::get_num_threads()), most_threads());
  set_region_threads(found);
  return found;
}

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

template <typename T>
const T* data(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}

template <typename T>
T* mutable_data(Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

template <typename T>
const T* data_or_null(const Optional& t) {
  return t ? data<T>(*t) : nullptr;
}

// A result of numbers of type T, uninitialised. One that is not wanted has the shape [0] and the
// dtype of `values`, and a kernel gets null for it.
template <typename T>
class Result {
 public:
  Result(const Tensor& values, const std::vector<int64_t>& shape, bool wanted = true)
      : tensor_(wanted ? empty(values, shape, kType<T>) : empty(values, {0})), wanted_(wanted) {}

  const Tensor& tensor() const { return tensor_; }
  T* data() { return wanted_ ? mutable_data<T>(tensor_) : nullptr; }
  void clear() { torch::stable::zero_(tensor_); }

 private:
  Tensor tensor_;
  bool wanted_;
};

// Fills results with zeros.
template <class... Results>
void clear(Results&... results) {
  (results.clear(), ...);
}

}  // namespace sparse_engine::bindings
