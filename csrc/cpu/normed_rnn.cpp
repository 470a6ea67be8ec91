#include "normed_backward.h"
#include "normed_forward.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

struct NormedRnn {
  static constexpr int kGates = 1;
  static constexpr bool kHasMemory = false;

  Chosen activation;

  template <typename T, int L>
  SE_INLINE Vec<T, L> forward(const Vec<T, L> (&z)[1]) const {
    return activation.of<T, L>(z[0]);
  }

  template <typename T, int L>
  SE_INLINE Vec<T, L> backward(Vec<T, L> h, Vec<T, L> dh) const {
    return dh * activation.slope<T, L>(h);
  }
};

}  // namespace

template <class Isa, typename T>
void normed_rnn_forward(const NormedForward<T>& a) {
  normed_forward(a, NormedRnn{{a.activation}});
}

template <class Isa, typename T>
void normed_rnn_backward(const NormedBackward<T>& a) {
  normed_backward(a, NormedRnn{{a.activation}});
}

template void normed_rnn_forward<SPARSE_ENGINE_ISA>(const NormedForward<SPARSE_ENGINE_REAL>&);
template void normed_rnn_backward<SPARSE_ENGINE_ISA>(const NormedBackward<SPARSE_ENGINE_REAL>&);

}  // namespace sparse_engine
