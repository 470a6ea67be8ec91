// One set of kernels, compiled for one instruction set.
#include "sparse_engine/kernels.h"

namespace sparse_engine {

template <>
NarrowKernels narrow_kernels_of<SPARSE_ENGINE_ISA>() {
  using Isa = SPARSE_ENGINE_ISA;
  return {
      spmm<Isa, float, BFloat16>,
      sddmm<Isa, float, BFloat16>,
      rnn_forward<Isa, float, BFloat16>,
      rnn_backward<Isa, float, BFloat16>,
      lstm_forward<Isa, float, BFloat16>,
      lstm_backward<Isa, float, BFloat16>,
      gru_forward<Isa, float, BFloat16>,
      gru_backward<Isa, float, BFloat16>,
      linear_backward<Isa, float, BFloat16>,
      rhn_forward<Isa, float, BFloat16>,
      rhn_backward<Isa, float, BFloat16>,
      on_lstm_forward<Isa, float, BFloat16>,
      on_lstm_backward<Isa, float, BFloat16>,
      ctrnn_forward<Isa, float, BFloat16>,
      ctrnn_backward<Isa, float, BFloat16>,
      ltc_forward<Isa, float, BFloat16>,
      ltc_backward<Isa, float, BFloat16>,
  };
}

#if !defined(SPARSE_ENGINE_ONLY_NARROW)
namespace {

template <class Isa, typename T>
constexpr Kernels<T> kTable = {
    spmm<Isa, T, T>,
    sddmm<Isa, T, T>,
    linear_backward<Isa, T, T>,
    rnn_forward<Isa, T, T>,
    rnn_backward<Isa, T, T>,
    lstm_forward<Isa, T, T>,
    lstm_backward<Isa, T, T>,
    gru_forward<Isa, T, T>,
    gru_backward<Isa, T, T>,
    ctrnn_forward<Isa, T, T>,
    ctrnn_backward<Isa, T, T>,
    rhn_forward<Isa, T, T>,
    rhn_backward<Isa, T, T>,
    on_lstm_forward<Isa, T, T>,
    on_lstm_backward<Isa, T, T>,
    conductance_forward<Isa, T>,
    conductance_backward<Isa, T>,
    ltc_forward<Isa, T, T>,
    ltc_backward<Isa, T, T>,
    normed_rnn_forward<Isa, T>,
    normed_rnn_backward<Isa, T>,
    normed_lstm_forward<Isa, T>,
    normed_lstm_backward<Isa, T>,
};

}  // namespace

template <>
Kernels<float> kernels_of<SPARSE_ENGINE_ISA, float>() {
  return kTable<SPARSE_ENGINE_ISA, float>;
}

template <>
Kernels<double> kernels_of<SPARSE_ENGINE_ISA, double>() {
  return kTable<SPARSE_ENGINE_ISA, double>;
}
#endif

}  // namespace sparse_engine
