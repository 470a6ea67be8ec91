// The operations on CUDA tensors: the same functions as on the CPU, with the kernels of the GPU in
// the place of those of the CPU.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <memory>
#include <utility>

#include "sparse_engine/kernels.h"

namespace sparse_engine::bindings {

// While one lives, this thread's operations take tensors of one CUDA device, run on it, and queue
// their work on its current stream.
class OnCuda {
 public:
  // Throws std::runtime_error where the library was built without CUDA.
  explicit OnCuda(int32_t device_index);
  ~OnCuda();

  // The device of this thread's operations, or kNone on the CPU.
  static constexpr int32_t kNone = -2;
  static int32_t index();
  static bool here() { return index() != kNone; }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The kernels of the device that is in use.
template <typename T, typename A = T>
const Kernels<T, A>& kernels();

inline int32_t device_index(const torch::stable::Tensor& t) { return t.get_device_index(); }
template <class Other>
int32_t device_index(const Other&) {
  return -1;
}

// An operation on the device of its first tensor.
template <auto operation>
struct Cuda;

template <class Result, class... Args, Result (*operation)(Args...)>
struct Cuda<operation> {
  static Result run(Args... args) {
    int32_t index = -1;
    ((index = index < 0 ? device_index(args) : index), ...);
    const OnCuda scope(index);
    return operation(std::forward<Args>(args)...);
  }
};

}  // namespace sparse_engine::bindings
