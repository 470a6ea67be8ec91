// What the operations that have no CUDA kernel say to a CUDA tensor.
#include "check.h"

namespace sparse_engine::bindings {
namespace {

// Its text is a template's argument, because a boxed function is not told which operation it is.
template <const char* operation>
void refuse(StableIValue*, uint64_t, uint64_t) {
  fail("expected tensors on the CPU, found one on a CUDA device: ", operation,
       " has no CUDA kernel yet");
}

}  // namespace

#define SPARSE_ENGINE_WITHOUT_CUDA(operation)        \
  static constexpr char operation##_[] = #operation; \
  m.impl(#operation, &refuse<operation##_>)

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  SPARSE_ENGINE_WITHOUT_CUDA(ch3_l3);
  SPARSE_ENGINE_WITHOUT_CUDA(ch2_l3n);
  SPARSE_ENGINE_WITHOUT_CUDA(column_sums);
  SPARSE_ENGINE_WITHOUT_CUDA(linear_backward);
  SPARSE_ENGINE_WITHOUT_CUDA(normed_rnn_forward);
  SPARSE_ENGINE_WITHOUT_CUDA(normed_rnn_backward);
  SPARSE_ENGINE_WITHOUT_CUDA(normed_lstm_forward);
  SPARSE_ENGINE_WITHOUT_CUDA(normed_lstm_backward);
}

#undef SPARSE_ENGINE_WITHOUT_CUDA

}  // namespace sparse_engine::bindings
