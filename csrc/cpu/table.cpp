// One set of kernels, compiled for one instruction set.
#include "sparse_engine/kernels.h"

namespace sparse_engine {

template <>
Kernels<float> kernels_of<SPARSE_ENGINE_ISA, float>() {
  using Isa = SPARSE_ENGINE_ISA;
  return {spmm<Isa, float>, sddmm<Isa, float>, rnn_forward<Isa, float>, rnn_backward<Isa, float>};
}

template <>
Kernels<double> kernels_of<SPARSE_ENGINE_ISA, double>() {
  using Isa = SPARSE_ENGINE_ISA;
  return {spmm<Isa, double>, sddmm<Isa, double>, rnn_forward<Isa, double>,
          rnn_backward<Isa, double>};
}

}  // namespace sparse_engine
