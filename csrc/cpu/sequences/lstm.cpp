#include "cells/lstm.h"

#include "sequences/gated_backward.h"
#include "sequences/gated_forward.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
template <class Isa, typename T, typename A>
void lstm_forward(const GatedForward<T, A>& a) {
  gated_forward(a, Lstm<T>{a.clip});
}

template <class Isa, typename T, typename A>
void lstm_backward(const GatedBackward<T, A>& a) {
  // Where c is rounded, what was clipped is known by its gates.
  gated_backward(a, Lstm<T>{std::is_same_v<T, A> ? a.clip : std::numeric_limits<T>::infinity()});
}

template void lstm_forward<SPARSE_ENGINE_ISA>(
    const GatedForward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);
template void lstm_backward<SPARSE_ENGINE_ISA>(
    const GatedBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
