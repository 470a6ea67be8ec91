// The kernels that the C library calls, of one instruction set and one type of numbers. It is
// linked in place of cpu/runtime/table.cpp, so that the linker leaves all other kernels out.
#include "sparse_engine/kernels.h"

#include <type_traits>

namespace sparse_engine {
namespace {

template <class Isa, typename T, typename A>
Kernels<T, A> of_inference() {
  Kernels<T, A> of = {};
  if constexpr (std::is_same_v<T, float> && std::is_same_v<A, float>) {
    of.spmm = spmm<Isa, T, A>;
    of.rnn_forward = rnn_forward<Isa, T, A>;
    of.lstm_forward = lstm_forward<Isa, T, A>;
    of.gru_forward = gru_forward<Isa, T, A>;
  }
  return of;
}

}  // namespace

template <>
Kernels<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>
kernels_of<SPARSE_ENGINE_ISA, SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>() {
  return of_inference<SPARSE_ENGINE_ISA, SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>();
}

}  // namespace sparse_engine
