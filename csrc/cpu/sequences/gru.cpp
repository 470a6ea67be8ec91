#include "cells/gru.h"

#include "sequences/gated_backward.h"
#include "sequences/gated_forward.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
template <class Isa, typename T, typename A>
void gru_forward(const GatedForward<T, A>& a) {
  gated_forward(a, Gru());
}

template <class Isa, typename T, typename A>
void gru_backward(const GatedBackward<T, A>& a) {
  gated_backward(a, Gru());
}

template void gru_forward<SPARSE_ENGINE_ISA>(
    const GatedForward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);
template void gru_backward<SPARSE_ENGINE_ISA>(
    const GatedBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
