#include "normed_backward.h"
#include "normed_forward.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

template <class Act>
struct NormedRnn {
  static constexpr int kGates = 1;
  static constexpr bool kHasMemory = false;

  template <typename T, int L>
  SE_INLINE Vec<T, L> forward(const Vec<T, L> (&z)[1]) const {
    return Act::template of<T, L>(z[0]);
  }

  template <typename T, int L>
  SE_INLINE Vec<T, L> backward(Vec<T, L> h, Vec<T, L> dh) const {
    return dh * Act::template slope<T, L>(h);
  }
};

}  // namespace

template <class Isa, typename T>
void normed_rnn_forward(const NormedForward<T>& a) {
  with_activation(a.activation, [&](auto act) { normed_forward(a, NormedRnn<decltype(act)>()); });
}

template <class Isa, typename T>
void normed_rnn_backward(const NormedBackward<T>& a) {
  with_activation(a.activation, [&](auto act) { normed_backward(a, NormedRnn<decltype(act)>()); });
}

template void normed_rnn_forward<SPARSE_ENGINE_ISA, float>(const NormedForward<float>&);
template void normed_rnn_forward<SPARSE_ENGINE_ISA, double>(const NormedForward<double>&);
template void normed_rnn_backward<SPARSE_ENGINE_ISA, float>(const NormedBackward<float>&);
template void normed_rnn_backward<SPARSE_ENGINE_ISA, double>(const NormedBackward<double>&);

}  // namespace sparse_engine
