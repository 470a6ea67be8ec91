// The kernels on the GPU: the contracts of the headers below, with every array in the memory of one
// CUDA device, which is the current one; only `first_row`, the numbers of a Runge-Kutta method, at
// most kMostStages of each, and the array of a highway network's levels are the host's. `threads`
// is ignored, h_n and dh_n of networks in continuous time are null, and there are no dense input
// weights: x is the input's contribution itself.
//
// All of it is asynchronous: work is queued on a stream, and nothing is read back. Results have the
// same bits at every call on the same kind of device. Throws std::runtime_error with CUDA's own
// message where a launch fails.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sparse_engine/bfloat16.h"
#include "sparse_engine/conductance.h"
#include "sparse_engine/continuous.h"
#include "sparse_engine/gated.h"
#include "sparse_engine/linear.h"
#include "sparse_engine/ltc.h"
#include "sparse_engine/normed.h"
#include "sparse_engine/on_lstm.h"
#include "sparse_engine/rhn.h"
#include "sparse_engine/rnn.h"
#include "sparse_engine/sddmm.h"
#include "sparse_engine/spmm.h"

namespace sparse_engine::cuda {

constexpr int64_t kMostStages = 16;

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

template <typename T, typename A>
void spmm(const Spmm<T, A>& args, const Stream& stream);
template <typename T, typename A>
void sddmm(const Sddmm<T, A>& args, const Stream& stream);
template <typename T, typename A>
void linear_backward(const LinearBackward<T, A>& args, const Stream& stream);
template <typename T, typename A>
void rnn_forward(const RnnForward<T, A>& args, const Stream& stream);
template <typename T, typename A>
void rnn_backward(const RnnBackward<T, A>& args, const Stream& stream);
#define SPARSE_ENGINE_DECLARE(name, Class)                                \
  template <typename T>                                                   \
  void name##_forward(const GatedForward<T>& args, const Stream& stream); \
  template <typename T>                                                   \
  void name##_backward(const GatedBackward<T>& args, const Stream& stream);
SPARSE_ENGINE_GATED_CELLS(SPARSE_ENGINE_DECLARE)
#undef SPARSE_ENGINE_DECLARE
#define SPARSE_ENGINE_DECLARE(name, Class)                                     \
  template <typename T>                                                        \
  void name##_forward(const ContinuousForward<T>& args, const Stream& stream); \
  template <typename T>                                                        \
  void name##_backward(const ContinuousBackward<T>& args, const Stream& stream);
SPARSE_ENGINE_CONTINUOUS_CELLS(SPARSE_ENGINE_DECLARE)
#undef SPARSE_ENGINE_DECLARE
template <typename T>
void conductance_forward(const ConductanceForward<T>& args, const Stream& stream);
template <typename T>
void conductance_backward(const ConductanceBackward<T>& args, const Stream& stream);
template <typename T>
void ltc_forward(const LtcForward<T>& args, const Stream& stream);
template <typename T>
void ltc_backward(const LtcBackward<T>& args, const Stream& stream);
template <typename T>
void rhn_forward(const RhnForward<T>& args, const Stream& stream);
template <typename T>
void rhn_backward(const RhnBackward<T>& args, const Stream& stream);
template <typename T>
void normed_rnn_forward(const NormedForward<T>& args, const Stream& stream);
template <typename T>
void normed_rnn_backward(const NormedBackward<T>& args, const Stream& stream);
template <typename T>
void normed_lstm_forward(const NormedForward<T>& args, const Stream& stream);
template <typename T>
void normed_lstm_backward(const NormedBackward<T>& args, const Stream& stream);
template <typename T>
void on_lstm_forward(const OnLstmForward<T>& args, const Stream& stream);
template <typename T>
void on_lstm_backward(const OnLstmBackward<T>& args, const Stream& stream);

}  // namespace sparse_engine::cuda
