// One set of kernels: for one instruction set and one type of numbers.
#include <type_traits>

#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

template <class Isa, typename T, typename A>
Kernels<T, A> table() {
  Kernels<T, A> of = {};
  of.spmm = spmm<Isa, T, A>;
  of.sddmm = sddmm<Isa, T, A>;
  of.linear_backward = linear_backward<Isa, T, A>;
  of.rnn_forward = rnn_forward<Isa, T, A>;
  of.rnn_backward = rnn_backward<Isa, T, A>;
#define SPARSE_ENGINE_SET(name, Class)           \
  of.name##_forward = name##_forward<Isa, T, A>; \
  of.name##_backward = name##_backward<Isa, T, A>;
  SPARSE_ENGINE_GATED_CELLS(SPARSE_ENGINE_SET)
  SPARSE_ENGINE_CONTINUOUS_CELLS(SPARSE_ENGINE_SET)
#undef SPARSE_ENGINE_SET
  of.rhn_forward = rhn_forward<Isa, T, A>;
  of.rhn_backward = rhn_backward<Isa, T, A>;
  of.on_lstm_forward = on_lstm_forward<Isa, T, A>;
  of.on_lstm_backward = on_lstm_backward<Isa, T, A>;
  of.ltc_forward = ltc_forward<Isa, T, A>;
  of.ltc_backward = ltc_backward<Isa, T, A>;
  of.influence = influence<Isa, T, A>;
  if constexpr (std::is_same_v<T, A>) {
    of.conductance_forward = conductance_forward<Isa, T>;
    of.conductance_backward = conductance_backward<Isa, T>;
    of.lif_forward = lif_forward<Isa, T>;
    of.lif_backward = lif_backward<Isa, T>;
    of.lif_simulate = lif_simulate<Isa, T>;
    of.normed_rnn_forward = normed_rnn_forward<Isa, T>;
    of.normed_rnn_backward = normed_rnn_backward<Isa, T>;
    of.normed_lstm_forward = normed_lstm_forward<Isa, T>;
    of.normed_lstm_backward = normed_lstm_backward<Isa, T>;
  }
  if constexpr (std::is_same_v<A, float>) {
    of.quantized_linear_int8 = quantized_linear<Isa, int8_t>;
    of.quantized_linear_bfloat16 = quantized_linear<Isa, BFloat16>;
    of.quantized_sequence_int8 = quantized_sequence<Isa, int8_t>;
    of.quantized_sequence_bfloat16 = quantized_sequence<Isa, BFloat16>;
  }
  return of;
}

}  // namespace

template <>
Kernels<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>
kernels_of<SPARSE_ENGINE_ISA, SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>() {
  return table<SPARSE_ENGINE_ISA, SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>();
}

}  // namespace sparse_engine
