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

thread_local int32_t device = OnCuda::kNone;

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

// body(the current stream)
template <class Body>
auto on_stream(const Body& body) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  TorchMemory memory;
  const cuda::Stream current{stream, memory};
  return body(current);
}

template <class Args, void (*kernel)(const Args&, const cuda::Stream&)>
void queue(const Args& args) {
  on_stream([&](const cuda::Stream& stream) { kernel(args, stream); });
}

template <typename T>
constexpr Kernels<T> queued_kernels() {
  Kernels<T> of = {};
  of.spmm = queue<Spmm<T>, cuda::spmm<T, T>>;
  of.sddmm = queue<Sddmm<T>, cuda::sddmm<T, T>>;
  of.linear_backward = queue<LinearBackward<T>, cuda::linear_backward<T, T>>;
  of.rnn_forward = queue<RnnForward<T>, cuda::rnn_forward<T, T>>;
  of.rnn_backward = queue<RnnBackward<T>, cuda::rnn_backward<T, T>>;
#define SPARSE_ENGINE_QUEUE(name, Class)                               \
  of.name##_forward = queue<GatedForward<T>, cuda::name##_forward<T>>; \
  of.name##_backward = queue<GatedBackward<T>, cuda::name##_backward<T>>;
  SPARSE_ENGINE_GATED_CELLS(SPARSE_ENGINE_QUEUE)
#undef SPARSE_ENGINE_QUEUE
#define SPARSE_ENGINE_QUEUE(name, Class)                                    \
  of.name##_forward = queue<ContinuousForward<T>, cuda::name##_forward<T>>; \
  of.name##_backward = queue<ContinuousBackward<T>, cuda::name##_backward<T>>;
  SPARSE_ENGINE_CONTINUOUS_CELLS(SPARSE_ENGINE_QUEUE)
#undef SPARSE_ENGINE_QUEUE
  of.conductance_forward = queue<ConductanceForward<T>, cuda::conductance_forward<T>>;
  of.conductance_backward = queue<ConductanceBackward<T>, cuda::conductance_backward<T>>;
  of.ltc_forward = queue<LtcForward<T>, cuda::ltc_forward<T>>;
  of.ltc_backward = queue<LtcBackward<T>, cuda::ltc_backward<T>>;
  of.rhn_forward = queue<RhnForward<T>, cuda::rhn_forward<T>>;
  of.rhn_backward = queue<RhnBackward<T>, cuda::rhn_backward<T>>;
  of.on_lstm_forward = queue<OnLstmForward<T>, cuda::on_lstm_forward<T>>;
  of.on_lstm_backward = queue<OnLstmBackward<T>, cuda::on_lstm_backward<T>>;
  of.normed_rnn_forward = queue<NormedForward<T>, cuda::normed_rnn_forward<T>>;
  of.normed_rnn_backward = queue<NormedBackward<T>, cuda::normed_rnn_backward<T>>;
  of.normed_lstm_forward = queue<NormedForward<T>, cuda::normed_lstm_forward<T>>;
  of.normed_lstm_backward = queue<NormedBackward<T>, cuda::normed_lstm_backward<T>>;
  return of;
}

constexpr Kernels<float, BFloat16> queued_bfloat16_kernels() {
  Kernels<float, BFloat16> of = {};
  of.spmm = queue<Spmm<float, BFloat16>, cuda::spmm<float, BFloat16>>;
  of.sddmm = queue<Sddmm<float, BFloat16>, cuda::sddmm<float, BFloat16>>;
  of.linear_backward =
      queue<LinearBackward<float, BFloat16>, cuda::linear_backward<float, BFloat16>>;
  of.rnn_forward = queue<RnnForward<float, BFloat16>, cuda::rnn_forward<float, BFloat16>>;
  of.rnn_backward = queue<RnnBackward<float, BFloat16>, cuda::rnn_backward<float, BFloat16>>;
  return of;
}

template <typename T, typename A>
constexpr Kernels<T, A> kCudaKernels = queued_kernels<T>();
template <>
constexpr Kernels<float, BFloat16> kCudaKernels<float, BFloat16> = queued_bfloat16_kernels();

}  // namespace

struct OnCuda::State {
  explicit State(int32_t index) : guard(index), before(device) { device = index; }
  ~State() { device = before; }

  torch::stable::accelerator::DeviceGuard guard;
  int32_t before;
};

OnCuda::OnCuda(int32_t device_index) : state_(new State(device_index)) {}
OnCuda::~OnCuda() = default;

int32_t OnCuda::index() { return device; }

#else

namespace sparse_engine::bindings {

struct OnCuda::State {};

OnCuda::OnCuda(int32_t) {
  throw std::runtime_error(
      "expected tensors on the CPU, found one on a CUDA device: sparse_engine was built without "
      "CUDA; build it again with a CUDA build of torch and nvcc (make cuda)");
}
OnCuda::~OnCuda() = default;

int32_t OnCuda::index() { return kNone; }

// Never asked for.
template <typename T, typename A>
constexpr Kernels<T, A> kCudaKernels = {};

#endif

template <typename T, typename A>
const Kernels<T, A>& kernels() {
  return OnCuda::here() ? kCudaKernels<T, A> : sparse_engine::kernels<T, A>();
}

template const Kernels<float>& kernels();
template const Kernels<double>& kernels();
template const Kernels<float, BFloat16>& kernels();

}  // namespace sparse_engine::bindings
