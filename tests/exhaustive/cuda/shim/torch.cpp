// What a CPU build of torch lacks: CUDA tensors are CPU tensors here, all on device 0 but those
// whose data is where `on_second_device` says.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <stdexcept>

#include "sparse_engine/kernels.h"

extern "C" {

int32_t aoti_torch_device_type_cuda() { return aoti_torch_device_type_cpu(); }

__attribute__((visibility("default"))) const void* on_second_device = nullptr;

AOTITorchError aoti_torch_get_device_index(AtenTensorHandle tensor, int32_t* index) {
  void* data = nullptr;
  const AOTITorchError error = aoti_torch_get_data_ptr(tensor, &data);
  *index = data != nullptr && data == on_second_device;
  return error;
}

AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void** stream) {
  *stream = nullptr;
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_create_device_guard(int32_t, DeviceGuardHandle* guard) {
  *guard = nullptr;
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_delete_device_guard(DeviceGuardHandle) { return AOTI_TORCH_SUCCESS; }
}

namespace sparse_engine {

template <>
const Kernels<float>& kernels() {
  throw std::logic_error("no kernels of the CPU here");
}

template <>
const Kernels<double>& kernels() {
  throw std::logic_error("no kernels of the CPU here");
}

template <>
const Kernels<float, BFloat16>& kernels() {
  throw std::logic_error("no kernels of the CPU here");
}

}  // namespace sparse_engine
