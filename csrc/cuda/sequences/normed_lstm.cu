#include "cells/lstm.h"
#include "sequences/normed_backward.cuh"
#include "sparse_engine/cuda.h"

namespace sparse_engine::cuda {

template <typename T>
void normed_lstm_forward(const NormedForward<T>& a, const Stream& stream) {
  normed_forward(a, NormedLstm<T>{{a.clip}}, stream);
}

template <typename T>
void normed_lstm_backward(const NormedBackward<T>& a, const Stream& stream) {
  normed_backward(a, NormedLstm<T>{{a.clip}}, stream);
}

template void normed_lstm_forward(const NormedForward<float>&, const Stream&);
template void normed_lstm_forward(const NormedForward<double>&, const Stream&);
template void normed_lstm_backward(const NormedBackward<float>&, const Stream&);
template void normed_lstm_backward(const NormedBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
