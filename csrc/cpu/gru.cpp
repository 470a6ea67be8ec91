#include "gated_backward.h"
#include "gated_forward.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

struct Gru {
  static constexpr int kGates = 3, kShared = 2, kSaved = 4, kMemory = -1;

  template <typename T, int L>
  SE_INLINE Vec<T, L> forward(const Vec<T, L> (&v)[3], const Vec<T, L> (&u)[3], Vec<T, L>& before,
                              Vec<T, L> (&saved)[4]) const {
    const Vec<T, L> r = Sigmoid::of<T, L>(v[0] + u[0]), z = Sigmoid::of<T, L>(v[1] + u[1]);
    const Vec<T, L> n = Tanh::of<T, L>(v[2] + r * u[2]);
    saved[0] = r, saved[1] = z, saved[2] = n, saved[3] = u[2];
    return (T(1) - z) * n + z * before;
  }

  static constexpr bool is_sigmoid(int s) { return s < 2; }

  template <typename T, int L>
  static void mark_clipped(Vec<T, L> (&)[4]) {}

  template <typename T, int L>
  SE_INLINE void backward(const Vec<T, L> (&saved)[4], Vec<T, L> dh, Vec<T, L> before,
                          Vec<T, L>& carried, Vec<T, L> (&du)[3], Vec<T, L> (&dv)[3]) const {
    const Vec<T, L> r = saved[0], z = saved[1], n = saved[2], candidate = saved[3];
    const Vec<T, L> all = dh + carried;
    dv[2] = all * (T(1) - z) * Tanh::slope<T, L>(n);
    du[0] = dv[2] * candidate * Sigmoid::slope<T, L>(r);
    du[1] = all * (before - n) * Sigmoid::slope<T, L>(z);
    du[2] = dv[2] * r;
    carried = all * z;
  }
};

}  // namespace

template <class Isa, typename T, typename A>
void gru_forward(const GatedForward<T, A>& a) {
  gated_forward(a, Gru());
}

template <class Isa, typename T, typename A>
void gru_backward(const GatedBackward<T, A>& a) {
  gated_backward(a, Gru());
}

template void gru_forward<SPARSE_ENGINE_ISA>(
    const GatedForward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);
template void gru_backward<SPARSE_ENGINE_ISA>(
    const GatedBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
