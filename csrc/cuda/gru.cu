#include "activation.cuh"
#include "recurrent.cuh"

namespace sparse_engine::cuda {
namespace {

struct Gru {
  static constexpr int kGates = 3, kRows = 4;
  static constexpr bool kSaves = true, kHasMemory = false, kCarries = true;

  template <typename T>
  __device__ static T forward(T (&rows)[4], const T (&u)[3], T& before) {
    const T r = Sigmoid::of(rows[0] + u[0]), z = Sigmoid::of(rows[1] + u[1]);
    const T n = Tanh::of(rows[2] + r * u[2]);
    rows[0] = r, rows[1] = z, rows[2] = n, rows[3] = u[2];
    return (T(1) - z) * n + z * before;
  }

  // The input's part of the candidate has a gradient of its own, in the last row.
  template <typename T>
  __device__ static void backward(T (&rows)[4], T dh, T before, T, T& carried) {
    const T r = rows[0], z = rows[1], n = rows[2], candidate = rows[3], all = dh + carried;
    rows[3] = all * (T(1) - z) * Tanh::slope(n);
    rows[0] = rows[3] * candidate * Sigmoid::slope(r);
    rows[1] = all * (before - n) * Sigmoid::slope(z);
    rows[2] = rows[3] * r;
    carried = all * z;
  }

  static int input_row(int gate) { return gate == 2 ? 3 : gate; }
};

}  // namespace

template <typename T>
void gru_forward(const GatedForward<T>& a, const Stream& stream) {
  gated_forward(a, Gru(), stream);
}

template <typename T>
void gru_backward(const GatedBackward<T>& a, const Stream& stream) {
  gated_backward(a, Gru(), stream);
}

template void gru_forward(const GatedForward<float>&, const Stream&);
template void gru_forward(const GatedForward<double>&, const Stream&);
template void gru_backward(const GatedBackward<float>&, const Stream&);
template void gru_backward(const GatedBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
