#include "gated.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

struct Lstm {
  static constexpr int kGates = 4, kShared = 4, kSaved = 5, kMemory = 4;

  template <typename T, int L>
  static SE_INLINE Vec<T, L> forward(const Vec<T, L> (&v)[4], const Vec<T, L> (&u)[4], Vec<T, L>& c,
                                     Vec<T, L> (&saved)[5]) {
    const Vec<T, L> i = Sigmoid::of<T, L>(v[0] + u[0]), f = Sigmoid::of<T, L>(v[1] + u[1]);
    const Vec<T, L> g = Tanh::of<T, L>(v[2] + u[2]), o = Sigmoid::of<T, L>(v[3] + u[3]);
    c = f * c + i * g;
    saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o, saved[4] = c;
    return o * Tanh::of<T, L>(c);
  }

  template <typename T, int L>
  static SE_INLINE void backward(const Vec<T, L> (&saved)[5], Vec<T, L> dh, Vec<T, L> before,
                                 Vec<T, L>& carried, Vec<T, L> (&du)[4], Vec<T, L> (&)[4]) {
    const Vec<T, L> i = saved[0], f = saved[1], g = saved[2], o = saved[3];
    const Vec<T, L> squashed = Tanh::of<T, L>(saved[4]);
    const Vec<T, L> dc = carried + dh * o * Tanh::slope<T, L>(squashed);
    du[0] = dc * g * Sigmoid::slope<T, L>(i);
    du[1] = dc * before * Sigmoid::slope<T, L>(f);
    du[2] = dc * i * Tanh::slope<T, L>(g);
    du[3] = dh * squashed * Sigmoid::slope<T, L>(o);
    carried = dc * f;
  }
};

}  // namespace

template <class Isa, typename T>
void lstm_forward(const GatedForward<T>& a) {
  gated_forward<Lstm>(a);
}

template <class Isa, typename T>
void lstm_backward(const GatedBackward<T>& a) {
  gated_backward<Lstm>(a);
}

template void lstm_forward<SPARSE_ENGINE_ISA, float>(const GatedForward<float>&);
template void lstm_forward<SPARSE_ENGINE_ISA, double>(const GatedForward<double>&);
template void lstm_backward<SPARSE_ENGINE_ISA, float>(const GatedBackward<float>&);
template void lstm_backward<SPARSE_ENGINE_ISA, double>(const GatedBackward<double>&);

}  // namespace sparse_engine
