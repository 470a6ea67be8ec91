#include "gated_backward.h"
#include "gated_forward.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

// `Number` is that of the clip.
template <class Number>
struct Lstm {
  static constexpr int kGates = 4, kShared = 4, kSaved = 5, kMemory = 4;

  Number clip;

  template <typename T, int L>
  SE_INLINE Vec<T, L> forward(const Vec<T, L> (&v)[4], const Vec<T, L> (&u)[4], Vec<T, L>& c,
                              Vec<T, L> (&saved)[5]) const {
    const Vec<T, L> i = Sigmoid::of<T, L>(v[0] + u[0]), f = Sigmoid::of<T, L>(v[1] + u[1]);
    const Vec<T, L> g = Tanh::of<T, L>(v[2] + u[2]), o = Sigmoid::of<T, L>(v[3] + u[3]);
    const Vec<T, L> most = Vec<T, L>{} + clip;
    c = f * c + i * g;
    c = c > most ? most : c;
    c = c < -most ? -most : c;
    saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o, saved[4] = c;
    return o * Tanh::of<T, L>(c);
  }

  static constexpr bool is_sigmoid(int s) { return s == 0 || s == 1 || s == 3; }

  // The gates of a c that was clipped let no gradient pass.
  template <typename T, int L>
  SE_INLINE void mark_clipped(Vec<T, L> (&saved)[5]) const {
    const Vec<T, L> c = saved[4], size = c < T(0) ? -c : c, most = Vec<T, L>{} + clip;
    for (int s = 0; s < 3; ++s) saved[s] = size >= most ? Vec<T, L>{} : saved[s];
  }

  // h, from what was saved.
  template <typename T, int L>
  SE_INLINE Vec<T, L> output(const Vec<T, L> (&saved)[5]) const {
    return saved[3] * Tanh::of<T, L>(saved[4]);
  }

  template <typename T, int L>
  SE_INLINE void backward(const Vec<T, L> (&saved)[5], Vec<T, L> dh, Vec<T, L> before,
                          Vec<T, L>& carried, Vec<T, L> (&du)[4], Vec<T, L> (&)[4]) const {
    const Vec<T, L> i = saved[0], f = saved[1], g = saved[2], o = saved[3], c = saved[4];
    const Vec<T, L> squashed = Tanh::of<T, L>(c), most = Vec<T, L>{} + clip;
    Vec<T, L> dc = carried + dh * o * Tanh::slope<T, L>(squashed);
    dc = c >= most ? Vec<T, L>{} : dc;
    dc = c <= -most ? Vec<T, L>{} : dc;
    du[0] = dc * g * Sigmoid::slope<T, L>(i);
    du[1] = dc * before * Sigmoid::slope<T, L>(f);
    du[2] = dc * i * Tanh::slope<T, L>(g);
    du[3] = dh * squashed * Sigmoid::slope<T, L>(o);
    carried = dc * f;
  }
};

}  // namespace

template <class Isa, typename T, typename A>
void lstm_forward(const GatedForward<T, A>& a) {
  gated_forward(a, Lstm<T>{a.clip});
}

template <class Isa, typename T, typename A>
void lstm_backward(const GatedBackward<T, A>& a) {
  // Where c is rounded, what was clipped is known by its gates.
  gated_backward(a, Lstm<T>{std::is_same_v<T, A> ? a.clip : std::numeric_limits<T>::infinity()});
}

template void lstm_forward<SPARSE_ENGINE_ISA>(
    const GatedForward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);
template void lstm_backward<SPARSE_ENGINE_ISA>(
    const GatedBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
