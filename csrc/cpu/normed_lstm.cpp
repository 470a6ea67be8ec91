#include "normed_backward.h"
#include "normed_forward.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

// `Number` is that of the clip.
template <class Number>
struct NormedLstm {
  static constexpr int kGates = 4, kOutputGate = 3;
  static constexpr bool kHasMemory = true;

  Number clip;

  template <typename T, int L>
  SE_INLINE Vec<T, L> forward(const Vec<T, L> (&z)[4], Vec<T, L>& c) const {
    const Vec<T, L> i = Sigmoid::of<T, L>(z[0]), f = Sigmoid::of<T, L>(z[1]);
    const Vec<T, L> most = Vec<T, L>{} + clip;
    c = f * c + i * Tanh::of<T, L>(z[2]);
    c = c > most ? most : c;
    c = c < -most ? -most : c;
    return Sigmoid::of<T, L>(z[3]);
  }

  template <typename T, int L>
  SE_INLINE Vec<T, L> output(Vec<T, L> o, Vec<T, L> y) const {
    return o * Tanh::of<T, L>(y);
  }

  template <typename T, int L>
  SE_INLINE Vec<T, L> output_backward(Vec<T, L> z, Vec<T, L> y, Vec<T, L> dh, Vec<T, L>& dz) const {
    const Vec<T, L> o = Sigmoid::of<T, L>(z), squashed = Tanh::of<T, L>(y);
    dz = dh * squashed * Sigmoid::slope<T, L>(o);
    return dh * o * Tanh::slope<T, L>(squashed);
  }

  template <typename T, int L>
  SE_INLINE Vec<T, L> backward(const Vec<T, L> (&z)[4], Vec<T, L> c, Vec<T, L> before, Vec<T, L> dc,
                               Vec<T, L> (&dz)[4]) const {
    const Vec<T, L> i = Sigmoid::of<T, L>(z[0]), f = Sigmoid::of<T, L>(z[1]);
    const Vec<T, L> g = Tanh::of<T, L>(z[2]), most = Vec<T, L>{} + clip;
    dc = c >= most ? Vec<T, L>{} : dc;
    dc = c <= -most ? Vec<T, L>{} : dc;
    dz[0] = dc * g * Sigmoid::slope<T, L>(i);
    dz[1] = dc * before * Sigmoid::slope<T, L>(f);
    dz[2] = dc * i * Tanh::slope<T, L>(g);
    return dc * f;
  }
};

}  // namespace

template <class Isa, typename T>
void normed_lstm_forward(const NormedForward<T>& a) {
  normed_forward(a, NormedLstm<T>{a.clip});
}

template <class Isa, typename T>
void normed_lstm_backward(const NormedBackward<T>& a) {
  normed_backward(a, NormedLstm<T>{a.clip});
}

template void normed_lstm_forward<SPARSE_ENGINE_ISA>(const NormedForward<SPARSE_ENGINE_REAL>&);
template void normed_lstm_backward<SPARSE_ENGINE_ISA>(const NormedBackward<SPARSE_ENGINE_REAL>&);

}  // namespace sparse_engine
