#include "cuda.h"

#include <stdexcept>

#ifdef SPARSE_ENGINE_WITH_CUDA
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/ops.h>

#include <vector>

#include "sparse_engine/cuda.h"

namespace sparse_engine::bindings {
namespace {

constexpr int32_t kNone = -2;
thread_local int32_t device = kNone;

// From PyTorch's allocator, which gives memory out again in the order of the stream.
class TorchMemory final : public cuda::Memory {
 public:
  void* take(size_t bytes) override {
    blocks_.push_back(torch::stable::empty(
        {static_cast<int64_t>(bytes)}, torch::headeronly::ScalarType::Byte, std::nullopt,
        torch::stable::Device(torch::headeronly::DeviceType::CUDA, device)));
    return blocks_.back().mutable_data_ptr();
  }

 private:
  std::vector<torch::stable::Tensor> blocks_;
};

// Queues a kernel on the current stream.
template <class Args, void (*kernel)(const Args&, const cuda::Stream&)>
void queue(const Args& args) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  TorchMemory memory;
  kernel(args, {stream, memory});
}

template <typename T>
constexpr Kernels<T> kCudaKernels = {
    queue<Spmm<T>, cuda::spmm<T>>,
    queue<Sddmm<T>, cuda::sddmm<T>>,
    queue<RnnForward<T>, cuda::rnn_forward<T>>,
    queue<RnnBackward<T>, cuda::rnn_backward<T>>,
    queue<GatedForward<T>, cuda::lstm_forward<T>>,
    queue<GatedBackward<T>, cuda::lstm_backward<T>>,
    queue<GatedForward<T>, cuda::gru_forward<T>>,
    queue<GatedBackward<T>, cuda::gru_backward<T>>,
};

}  // namespace

struct OnCuda::State {
  explicit State(int32_t index) : guard(index), before(device) { device = index; }
  ~State() { device = before; }

  torch::stable::accelerator::DeviceGuard guard;
  int32_t before;
};

OnCuda::OnCuda(int32_t device_index) : state_(new State(device_index)) {}
OnCuda::~OnCuda() = default;

bool OnCuda::here() { return device != kNone; }

template <typename T>
const Kernels<T>& kernels() {
  return OnCuda::here() ? kCudaKernels<T> : sparse_engine::kernels<T>();
}

#else

namespace sparse_engine::bindings {

struct OnCuda::State {};

OnCuda::OnCuda(int32_t) {
  throw std::runtime_error(
      "expected tensors on the CPU, found one on a CUDA device: sparse_engine was built without "
      "CUDA; build it again with a CUDA build of torch and nvcc (make cuda)");
}
OnCuda::~OnCuda() = default;

bool OnCuda::here() { return false; }

template <typename T>
const Kernels<T>& kernels() {
  return sparse_engine::kernels<T>();
}

#endif

template const Kernels<float>& kernels();
template const Kernels<double>& kernels();

}  // namespace sparse_engine::bindings
