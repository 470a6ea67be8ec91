#include "activation.cuh"
#include "recurrent.cuh"

namespace sparse_engine::cuda {
namespace {

// `Number` is that of the clip.
template <class Number>
struct Lstm {
  static constexpr int kGates = 4, kRows = 4;
  static constexpr bool kSaves = true, kHasMemory = true, kCarries = true;

  Number clip;

  template <typename T>
  __device__ T forward(T (&rows)[4], const T (&u)[4], T& c) const {
    const T i = Sigmoid::of(rows[0] + u[0]), f = Sigmoid::of(rows[1] + u[1]);
    const T g = Tanh::of(rows[2] + u[2]), o = Sigmoid::of(rows[3] + u[3]);
    rows[0] = i, rows[1] = f, rows[2] = g, rows[3] = o;
    c = f * c + i * g;
    c = c > clip ? clip : c < -clip ? -clip : c;
    return o * Tanh::of(c);
  }

  template <typename T>
  __device__ static T output(T o, T now) {
    return o * Tanh::of(now);
  }

  template <typename T>
  __device__ void backward(T (&rows)[4], T dh, T before, T now, T& carried) const {
    const T i = rows[0], f = rows[1], g = rows[2], o = rows[3], squashed = Tanh::of(now);
    const bool clipped = now >= clip || now <= -clip;
    const T dc = clipped ? T(0) : carried + dh * o * Tanh::slope(squashed);
    rows[0] = dc * g * Sigmoid::slope(i);
    rows[1] = dc * before * Sigmoid::slope(f);
    rows[2] = dc * i * Tanh::slope(g);
    rows[3] = dh * squashed * Sigmoid::slope(o);
    carried = dc * f;
  }

  static int input_row(int gate) { return gate; }
};

}  // namespace

template <typename T>
void lstm_forward(const GatedForward<T>& a, const Stream& stream) {
  gated_forward(a, Lstm<T>{a.clip}, stream);
}

template <typename T>
void lstm_backward(const GatedBackward<T>& a, const Stream& stream) {
  gated_backward(a, Lstm<T>{a.clip}, stream);
}

template void lstm_forward(const GatedForward<float>&, const Stream&);
template void lstm_forward(const GatedForward<double>&, const Stream&);
template void lstm_backward(const GatedBackward<float>&, const Stream&);
template void lstm_backward(const GatedBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
