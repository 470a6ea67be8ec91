#include "cells/ctrnn.h"

#include "sequences/continuous.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {

template <class Isa, typename T, typename A>
void ctrnn_forward(const ContinuousForward<T, A>& a) {
  continuous_forward(a, Ctrnn());
}

template <class Isa, typename T, typename A>
void ctrnn_backward(const ContinuousBackward<T, A>& a) {
  continuous_backward(a, Ctrnn());
}

template void ctrnn_forward<SPARSE_ENGINE_ISA>(
    const ContinuousForward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);
template void ctrnn_backward<SPARSE_ENGINE_ISA>(
    const ContinuousBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
