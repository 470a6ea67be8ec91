// The kernels on the GPU: the contracts of spmm.h, sddmm.h, rnn.h and gated.h, with every array in
// the memory of one CUDA device, which is the current one. `threads` is ignored.
//
// All of it is asynchronous: work is queued on a stream, and nothing is read back. Results have the
// same bits at every call on the same kind of device. Throws std::runtime_error with CUDA's own
// message where a launch fails.
#pragma once

#include <cstddef>

#include "sparse_engine/gated.h"
#include "sparse_engine/rnn.h"
#include "sparse_engine/sddmm.h"
#include "sparse_engine/spmm.h"

namespace sparse_engine::cuda {

// Device memory for intermediate results.
class Memory {
 public:
  virtual ~Memory() = default;
  // `bytes` >= 1 bytes, aligned to 256. They stay valid for all work that is queued on the stream
  // before the object ends.
  virtual void* take(size_t bytes) = 0;
};

struct Stream {
  void* handle;  // a cudaStream_t
  Memory& memory;
};

template <typename T>
void spmm(const Spmm<T>& args, const Stream& stream);
template <typename T>
void sddmm(const Sddmm<T>& args, const Stream& stream);
template <typename T>
void rnn_forward(const RnnForward<T>& args, const Stream& stream);
template <typename T>
void rnn_backward(const RnnBackward<T>& args, const Stream& stream);
template <typename T>
void lstm_forward(const GatedForward<T>& args, const Stream& stream);
template <typename T>
void lstm_backward(const GatedBackward<T>& args, const Stream& stream);
template <typename T>
void gru_forward(const GatedForward<T>& args, const Stream& stream);
template <typename T>
void gru_backward(const GatedBackward<T>& args, const Stream& stream);

}  // namespace sparse_engine::cuda
