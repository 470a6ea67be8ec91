// The kernels of the instruction set that was chosen when the library was loaded.
#pragma once

#include "sparse_engine/bfloat16.h"
#include "sparse_engine/conductance.h"
#include "sparse_engine/ctrnn.h"
#include "sparse_engine/gated.h"
#include "sparse_engine/linear.h"
#include "sparse_engine/ltc.h"
#include "sparse_engine/normed.h"
#include "sparse_engine/on_lstm.h"
#include "sparse_engine/rhn.h"
#include "sparse_engine/rnn.h"
#include "sparse_engine/sddmm.h"
#include "sparse_engine/spmm.h"

namespace sparse_engine {

// Tags: each kernel file is compiled once per tag that the architecture has.
struct Baseline {};
struct V3 {};      // x86-64-v3: AVX2 and FMA
struct V4 {};      // x86-64-v4: AVX-512
struct V4Bf16 {};  // with AVX512_BF16 as well: for NarrowKernels only, the others are those of V4

template <typename T>
struct Kernels {
  void (*spmm)(const Spmm<T>&);
  void (*sddmm)(const Sddmm<T>&);
  void (*linear_backward)(const LinearBackward<T>&);
  void (*rnn_forward)(const RnnForward<T>&);
  void (*rnn_backward)(const RnnBackward<T>&);
  void (*lstm_forward)(const GatedForward<T>&);
  void (*lstm_backward)(const GatedBackward<T>&);
  void (*gru_forward)(const GatedForward<T>&);
  void (*gru_backward)(const GatedBackward<T>&);
  void (*ctrnn_forward)(const CtrnnForward<T>&);
  void (*ctrnn_backward)(const CtrnnBackward<T>&);
  void (*rhn_forward)(const RhnForward<T>&);
  void (*rhn_backward)(const RhnBackward<T>&);
  void (*on_lstm_forward)(const OnLstmForward<T>&);
  void (*on_lstm_backward)(const OnLstmBackward<T>&);
  void (*conductance_forward)(const ConductanceForward<T>&);
  void (*conductance_backward)(const ConductanceBackward<T>&);
  void (*ltc_forward)(const LtcForward<T>&);
  void (*ltc_backward)(const LtcBackward<T>&);
  void (*normed_rnn_forward)(const NormedForward<T>&);
  void (*normed_rnn_backward)(const NormedBackward<T>&);
  void (*normed_lstm_forward)(const NormedForward<T>&);
  void (*normed_lstm_backward)(const NormedBackward<T>&);
};

// Those that also take activations as BFloat16, with float values. Null where there is none.
struct NarrowKernels {
  void (*spmm)(const Spmm<float, BFloat16>&);
  void (*sddmm)(const Sddmm<float, BFloat16>&);
  void (*rnn_forward)(const RnnForward<float, BFloat16>&);
  void (*rnn_backward)(const RnnBackward<float, BFloat16>&);
  void (*lstm_forward)(const GatedForward<float, BFloat16>&);
  void (*lstm_backward)(const GatedBackward<float, BFloat16>&);
  void (*gru_forward)(const GatedForward<float, BFloat16>&);
  void (*gru_backward)(const GatedBackward<float, BFloat16>&);
  void (*linear_backward)(const LinearBackward<float, BFloat16>&);
  void (*rhn_forward)(const RhnForward<float, BFloat16>&);
  void (*rhn_backward)(const RhnBackward<float, BFloat16>&);
  void (*on_lstm_forward)(const OnLstmForward<float, BFloat16>&);
  void (*on_lstm_backward)(const OnLstmBackward<float, BFloat16>&);
  void (*ctrnn_forward)(const CtrnnForward<float, BFloat16>&);
  void (*ctrnn_backward)(const CtrnnBackward<float, BFloat16>&);
  void (*ltc_forward)(const LtcForward<float, BFloat16>&);
  void (*ltc_backward)(const LtcBackward<float, BFloat16>&);
};

template <class Isa, typename T>
Kernels<T> kernels_of();
template <class Isa>
NarrowKernels narrow_kernels_of();

// The best set that this processor runs, or the one that SPARSE_ENGINE_ISA names.
template <typename T>
const Kernels<T>& kernels();
const NarrowKernels& narrow_kernels();

// Name of the chosen set: "baseline", "x86-64-v3", "x86-64-v4" or "x86-64-v4-bf16". Throws
// std::runtime_error when SPARSE_ENGINE_ISA names a set that is unknown or that this processor
// cannot run.
const char* isa_name();

}  // namespace sparse_engine
