#include "cells/gru.h"
#include "sequences/recurrent.cuh"

namespace sparse_engine::cuda {
template <typename T>
void gru_forward(const GatedForward<T>& a, const Stream& stream) {
  gated_forward(a, OnRows<Gru>(), stream);
}

template <typename T>
void gru_backward(const GatedBackward<T>& a, const Stream& stream) {
  gated_backward(a, OnRows<Gru>(), stream);
}

template void gru_forward(const GatedForward<float>&, const Stream&);
template void gru_forward(const GatedForward<double>&, const Stream&);
template void gru_backward(const GatedBackward<float>&, const Stream&);
template void gru_backward(const GatedBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
