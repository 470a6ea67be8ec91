// The kernels of a cell in continuous time: ctrnn_forward, ... This file is compiled once for each
// of them, see cells/compiled_cell.h.
#include "cells/compiled_cell.h"
#include "sequences/continuous.cuh"

namespace sparse_engine::cuda {

template <typename T>
void SPARSE_ENGINE_OF_CELL(forward)(const ContinuousForward<T>& a, const Stream& stream) {
  continuous_forward(a, cell_with<SPARSE_ENGINE_CELL_CLASS>(a.activation), stream);
}

template <typename T>
void SPARSE_ENGINE_OF_CELL(backward)(const ContinuousBackward<T>& a, const Stream& stream) {
  continuous_backward(a, cell_with<SPARSE_ENGINE_CELL_CLASS>(a.activation), stream);
}

template void SPARSE_ENGINE_OF_CELL(forward)(const ContinuousForward<float>&, const Stream&);
template void SPARSE_ENGINE_OF_CELL(forward)(const ContinuousForward<double>&, const Stream&);
template void SPARSE_ENGINE_OF_CELL(backward)(const ContinuousBackward<float>&, const Stream&);
template void SPARSE_ENGINE_OF_CELL(backward)(const ContinuousBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
