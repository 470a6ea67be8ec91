#include "cells/rnn.h"
#include "sequences/normed_backward.cuh"
#include "sparse_engine/cuda.h"

namespace sparse_engine::cuda {

template <typename T>
void normed_rnn_forward(const NormedForward<T>& a, const Stream& stream) {
  normed_forward(a, Elman{a.activation}, stream);
}

template <typename T>
void normed_rnn_backward(const NormedBackward<T>& a, const Stream& stream) {
  normed_backward(a, Elman{a.activation}, stream);
}

template void normed_rnn_forward(const NormedForward<float>&, const Stream&);
template void normed_rnn_forward(const NormedForward<double>&, const Stream&);
template void normed_rnn_backward(const NormedBackward<float>&, const Stream&);
template void normed_rnn_backward(const NormedBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
