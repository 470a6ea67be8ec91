// Large results in memory that is used again. A fresh page costs as much as the kernel that fills
// it, and an allocator gives large blocks back to the system whenever a step of training ends.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <stdexcept>
#include <vector>

#include "runtime/memory.h"

// From torch 2.11 on; null where an older one is loaded.
extern "C" __attribute__((weak)) AOTITorchError torch_from_blob(
    void* data, int64_t ndim, const int64_t* sizes, const int64_t* strides, int64_t storage_offset,
    int32_t dtype, int32_t device_type, int32_t device_index, AtenTensorHandle* result,
    int32_t layout, const uint8_t* opaque_metadata, int64_t opaque_metadata_size,
    void (*deleter)(void* data, void* context), void* context);

namespace sparse_engine::bindings {

// Whether a result of so many bytes comes from the pool: allocators keep smaller ones themselves,
// and the pool keeps no larger ones.
inline bool worth_pooling(double bytes) {
  constexpr double kLeast = 4 << 20, kMost = 512 << 20;
  return torch_from_blob != nullptr && bytes >= kLeast && bytes <= kMost;
}

// An uninitialised, contiguous tensor on the CPU.
inline torch::stable::Tensor pooled(const std::vector<int64_t>& shape, size_t bytes,
                                    torch::headeronly::ScalarType type) {
  namespace stable = torch::stable::detail;
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  const MemoryBlock block = take_block(bytes);
  const auto give_back = [](void* data, void* size) {
    give_block_back({static_cast<char*>(data), reinterpret_cast<size_t>(size)});
  };
  AtenTensorHandle handle;
  const AOTITorchError error = torch_from_blob(
      block.data, static_cast<int64_t>(shape.size()), shape.data(), strides.data(), 0,
      stable::to<int32_t>(stable::from(type)), aoti_torch_device_type_cpu(), -1, &handle,
      aoti_torch_layout_strided(), nullptr, 0, give_back, reinterpret_cast<void*>(block.size));
  if (error != AOTI_TORCH_SUCCESS) {
    give_block_back(block);
    throw std::runtime_error("torch_from_blob failed");
  }
  return torch::stable::Tensor(handle);
}

}  // namespace sparse_engine::bindings
