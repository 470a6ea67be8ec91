#include "cells/lstm.h"
#include "sequences/normed_backward.h"
#include "sequences/normed_forward.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {
template <class Isa, typename T>
void normed_lstm_forward(const NormedForward<T>& a) {
  normed_forward(a, NormedLstm<T>{{a.clip}});
}

template <class Isa, typename T>
void normed_lstm_backward(const NormedBackward<T>& a) {
  normed_backward(a, NormedLstm<T>{{a.clip}});
}

template void normed_lstm_forward<SPARSE_ENGINE_ISA>(const NormedForward<SPARSE_ENGINE_REAL>&);
template void normed_lstm_backward<SPARSE_ENGINE_ISA>(const NormedBackward<SPARSE_ENGINE_REAL>&);

}  // namespace sparse_engine
