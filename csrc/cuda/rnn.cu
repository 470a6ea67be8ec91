#include "activation.cuh"
#include "dense.cuh"
#include "recurrent.cuh"
#include "sparse_engine/rnn.h"

namespace sparse_engine::cuda {
namespace {

template <class Act>
struct Elman {
  static constexpr int kGates = 1, kRows = 1;
  static constexpr bool kSaves = false, kHasMemory = false, kCarries = false;

  template <typename T>
  __device__ static T forward(T (&rows)[1], const T (&u)[1], T&) {
    return Act::of(rows[0] + u[0]);
  }

  template <typename T>
  __device__ static void backward(T (&rows)[1], T dh, T, T now, T&) {
    rows[0] = dh * Act::slope(now);
  }
};

template <class Body>
void with_activation(Activation activation, const Body& body) {
  if (activation == Activation::kTanh)
    body(Elman<Tanh>());
  else
    body(Elman<Relu>());
}

}  // namespace

template <typename T>
void rnn_forward(const RnnForward<T>& a, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.rows};
  const Steps<T> h = layer.take_states(a.h0), z = h.from(1);  // each h_t takes the place of its z_t
  if (a.w_input)
    dense_product<T>(Strided<const T>{a.w_input, a.inputs, 1}, Strided<const T>{a.x, a.inputs, 1},
                     SequenceColumns<T>{z, a.batch}, layer.hidden, a.steps * a.batch, a.inputs,
                     stream);
  else
    pack(layer.all(z, a.x, 1, a.steps), stream);
  const GatedForward<T> pass{a.w,     a.values, a.bias,  nullptr, a.h0,    nullptr,  a.h,
                             nullptr, nullptr,  nullptr, a.steps, a.batch, a.threads};
  with_activation(a.activation,
                  [&](auto cell) { run_forward<decltype(cell)>(pass, layer, z, h, Steps<T>{}); });
}

template <typename T>
void rnn_backward(const RnnBackward<T>& a, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.rows};
  const Steps<T> dz = layer.take(a.steps, 1), h = layer.read_states(a.h0, a.h);
  const GatedBackward<T> pass{a.w,     a.wt,      a.permutation, a.values, a.h0,     nullptr, a.h,
                              nullptr, nullptr,   a.dh,          nullptr,  nullptr,  a.dbias, a.dh0,
                              nullptr, a.dvalues, a.steps,       a.batch,  a.threads};
  with_activation(a.activation,
                  [&](auto cell) { run_backward<decltype(cell)>(pass, layer, dz, h, h); });
  if (a.dz) unpack(layer.all(dz, a.dz, 1, a.steps), stream);
  if (a.dw_input)
    dense_product<T>(SequenceColumns<T>{dz, a.batch}, Strided<const T>{a.x, 1, a.inputs},
                     Strided<T>{a.dw_input, a.inputs, 1}, layer.hidden, a.inputs, a.steps * a.batch,
                     stream);
}

template void rnn_forward(const RnnForward<float>&, const Stream&);
template void rnn_forward(const RnnForward<double>&, const Stream&);
template void rnn_backward(const RnnBackward<float>&, const Stream&);
template void rnn_backward(const RnnBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
