// The kernels of a cell with gates: lstm_forward, gru_forward, ... This file is compiled once for
// each of them, see cells/compiled_cell.h.
#include "cells/compiled_cell.h"
#include "sequences/recurrent.cuh"

namespace sparse_engine::cuda {
namespace {

template <typename T>
OnRows<SPARSE_ENGINE_CELL_CLASS<T>> cell_on_rows(T clip) {
  return {cell_with<SPARSE_ENGINE_CELL_CLASS<T>>(clip)};
}

}  // namespace

template <typename T>
void SPARSE_ENGINE_OF_CELL(forward)(const GatedForward<T>& a, const Stream& stream) {
  gated_forward(a, cell_on_rows(a.clip), stream);
}

template <typename T>
void SPARSE_ENGINE_OF_CELL(backward)(const GatedBackward<T>& a, const Stream& stream) {
  gated_backward(a, cell_on_rows(a.clip), stream);
}

template void SPARSE_ENGINE_OF_CELL(forward)(const GatedForward<float>&, const Stream&);
template void SPARSE_ENGINE_OF_CELL(forward)(const GatedForward<double>&, const Stream&);
template void SPARSE_ENGINE_OF_CELL(backward)(const GatedBackward<float>&, const Stream&);
template void SPARSE_ENGINE_OF_CELL(backward)(const GatedBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
