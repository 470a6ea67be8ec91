// The kernels of a cell with gates: lstm_forward, gru_forward, ... This file is compiled once for
// each of them, see cells/compiled_cell.h.
#include <limits>
#include <type_traits>

#include "cells/compiled_cell.h"
#include "sequences/gated_backward.h"
#include "sequences/gated_forward.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {

template <class Isa, typename T, typename A>
void SPARSE_ENGINE_OF_CELL(forward)(const GatedForward<T, A>& a) {
  gated_forward(a, cell_with<SPARSE_ENGINE_CELL_CLASS<T>>(a.clip));
}

template <class Isa, typename T, typename A>
void SPARSE_ENGINE_OF_CELL(backward)(const GatedBackward<T, A>& a) {
  // Where c is rounded, what was clipped is known by its gates.
  const T clip = std::is_same_v<T, A> ? a.clip : std::numeric_limits<T>::infinity();
  gated_backward(a, cell_with<SPARSE_ENGINE_CELL_CLASS<T>>(clip));
}

template void SPARSE_ENGINE_OF_CELL(forward)<SPARSE_ENGINE_ISA>(
    const GatedForward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);
template void SPARSE_ENGINE_OF_CELL(backward)<SPARSE_ENGINE_ISA>(
    const GatedBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
