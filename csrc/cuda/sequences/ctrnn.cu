#include "cells/ctrnn.h"
#include "sequences/continuous.cuh"

namespace sparse_engine::cuda {
template <typename T>
void ctrnn_forward(const ContinuousForward<T>& a, const Stream& stream) {
  continuous_forward(a, Ctrnn(), stream);
}

template <typename T>
void ctrnn_backward(const ContinuousBackward<T>& a, const Stream& stream) {
  continuous_backward(a, Ctrnn(), stream);
}

template void ctrnn_forward(const ContinuousForward<float>&, const Stream&);
template void ctrnn_forward(const ContinuousForward<double>&, const Stream&);
template void ctrnn_backward(const ContinuousBackward<float>&, const Stream&);
template void ctrnn_backward(const ContinuousBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
