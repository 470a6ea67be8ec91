#include "cells/lstm.h"
#include "sequences/recurrent.cuh"

namespace sparse_engine::cuda {
template <typename T>
void lstm_forward(const GatedForward<T>& a, const Stream& stream) {
  gated_forward(a, OnRows<Lstm<T>>{{a.clip}}, stream);
}

template <typename T>
void lstm_backward(const GatedBackward<T>& a, const Stream& stream) {
  gated_backward(a, OnRows<Lstm<T>>{{a.clip}}, stream);
}

template void lstm_forward(const GatedForward<float>&, const Stream&);
template void lstm_forward(const GatedForward<double>&, const Stream&);
template void lstm_backward(const GatedBackward<float>&, const Stream&);
template void lstm_backward(const GatedBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
