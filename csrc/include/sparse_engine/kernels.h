// The kernels of the instruction set that was chosen when the library was loaded.
#pragma once

#include <string>

#include "sparse_engine/bfloat16.h"
#include "sparse_engine/conductance.h"
#include "sparse_engine/continuous.h"
#include "sparse_engine/gated.h"
#include "sparse_engine/influence.h"
#include "sparse_engine/instruction_sets.h"
#include "sparse_engine/lif.h"
#include "sparse_engine/linear.h"
#include "sparse_engine/ltc.h"
#include "sparse_engine/normed.h"
#include "sparse_engine/on_lstm.h"
#include "sparse_engine/quantized.h"
#include "sparse_engine/rhn.h"
#include "sparse_engine/rnn.h"
#include "sparse_engine/sddmm.h"
#include "sparse_engine/spmm.h"

namespace sparse_engine {

// The kernels for values of type T and activations kept as A. Null where there is none.
template <typename T, typename A = T>
struct Kernels {
  void (*spmm)(const Spmm<T, A>&);
  void (*sddmm)(const Sddmm<T, A>&);
  void (*linear_backward)(const LinearBackward<T, A>&);
  void (*rnn_forward)(const RnnForward<T, A>&);
  void (*rnn_backward)(const RnnBackward<T, A>&);
#define SPARSE_ENGINE_DECLARE(name, Class)           \
  void (*name##_forward)(const GatedForward<T, A>&); \
  void (*name##_backward)(const GatedBackward<T, A>&);
  SPARSE_ENGINE_GATED_CELLS(SPARSE_ENGINE_DECLARE)
#undef SPARSE_ENGINE_DECLARE
#define SPARSE_ENGINE_DECLARE(name, Class)                \
  void (*name##_forward)(const ContinuousForward<T, A>&); \
  void (*name##_backward)(const ContinuousBackward<T, A>&);
  SPARSE_ENGINE_CONTINUOUS_CELLS(SPARSE_ENGINE_DECLARE)
#undef SPARSE_ENGINE_DECLARE
  void (*rhn_forward)(const RhnForward<T, A>&);
  void (*rhn_backward)(const RhnBackward<T, A>&);
  void (*on_lstm_forward)(const OnLstmForward<T, A>&);
  void (*on_lstm_backward)(const OnLstmBackward<T, A>&);
  void (*ltc_forward)(const LtcForward<T, A>&);
  void (*ltc_backward)(const LtcBackward<T, A>&);
  void (*influence)(const Influence<T, A>&);
  // These do not take bfloat16.
  void (*conductance_forward)(const ConductanceForward<T>&);
  void (*conductance_backward)(const ConductanceBackward<T>&);
  void (*lif_forward)(const LifForward<T>&);
  void (*lif_backward)(const LifBackward<T>&);
  void (*lif_simulate)(const LifSimulation<T>&);
  void (*normed_rnn_forward)(const NormedForward<T>&);
  void (*normed_rnn_backward)(const NormedBackward<T>&);
  void (*normed_lstm_forward)(const NormedForward<T>&);
  void (*normed_lstm_backward)(const NormedBackward<T>&);
  // These are of float32 activations only.
  void (*quantized_linear_int8)(const QuantizedLinear<int8_t>&);
  void (*quantized_linear_bfloat16)(const QuantizedLinear<BFloat16>&);
  void (*quantized_sequence_int8)(const QuantizedSequence<int8_t>&);
  void (*quantized_sequence_bfloat16)(const QuantizedSequence<BFloat16>&);
};

template <class Isa, typename T, typename A>
Kernels<T, A> kernels_of();

// The best set of those built that this processor runs, or the one that SPARSE_ENGINE_ISA names.
template <typename T, typename A = T>
const Kernels<T, A>& kernels();

// Name of the chosen set: "baseline", "x86-64-v3", "x86-64-v4" or "x86-64-v4-bf16". Throws
// std::runtime_error when this processor runs no set that was built, or when SPARSE_ENGINE_ISA
// names another than those which were built and run here.
const char* isa_name();

// Names of the sets that were built, from the most widely supported one to the best, with commas.
std::string built_isa_names();

}  // namespace sparse_engine
