// The kernels of a cell in continuous time: ctrnn_forward, ... This file is compiled once for each
// of them, see cells/compiled_cell.h.
#include "sequences/continuous.h"

#include "cells/compiled_cell.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {

template <class Isa, typename T, typename A>
void SPARSE_ENGINE_OF_CELL(forward)(const ContinuousForward<T, A>& a) {
  continuous_forward(a, cell_with<SPARSE_ENGINE_CELL_CLASS>(a.activation));
}

template <class Isa, typename T, typename A>
void SPARSE_ENGINE_OF_CELL(backward)(const ContinuousBackward<T, A>& a) {
  continuous_backward(a, cell_with<SPARSE_ENGINE_CELL_CLASS>(a.activation));
}

template void SPARSE_ENGINE_OF_CELL(forward)<SPARSE_ENGINE_ISA>(
    const ContinuousForward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);
template void SPARSE_ENGINE_OF_CELL(backward)<SPARSE_ENGINE_ISA>(
    const ContinuousBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
