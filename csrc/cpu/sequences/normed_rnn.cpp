#include "cells/rnn.h"
#include "sequences/normed_backward.h"
#include "sequences/normed_forward.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {
template <class Isa, typename T>
void normed_rnn_forward(const NormedForward<T>& a) {
  normed_forward(a, Elman{a.activation});
}

template <class Isa, typename T>
void normed_rnn_backward(const NormedBackward<T>& a) {
  normed_backward(a, Elman{a.activation});
}

template void normed_rnn_forward<SPARSE_ENGINE_ISA>(const NormedForward<SPARSE_ENGINE_REAL>&);
template void normed_rnn_backward<SPARSE_ENGINE_ISA>(const NormedBackward<SPARSE_ENGINE_REAL>&);

}  // namespace sparse_engine
