#include "activation.cuh"
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
  const Layer<T> layer = layer_of<T>(a, a.w.rows, stream);
  const Steps<T> h = layer.take_states(a.h0), z = h.from(1);  // each h_t takes the place of its z_t
  if (a.w_input)
    layer.multiply(a.w_input, a.x, a.inputs, z, layer.hidden);
  else
    pack(layer.all(z, a.x, 1, a.steps), stream);
  GatedForward<T> pass = {};
  pass.w = a.w, pass.values = a.values, pass.bias = a.bias, pass.h0 = a.h0;
  with_activation(a.activation,
                  [&](auto cell) { run_forward(pass, cell, layer, z, h, Steps<T>{}); });
  unpack(layer.all(z, a.h, 1, a.steps), stream);
}

template <typename T>
void rnn_backward(const RnnBackward<T>& a, const Stream& stream) {
  const Layer<T> layer = layer_of<T>(a, a.w.rows, stream);
  const Steps<T> dz = layer.take(a.steps, 1), h = layer.read_states(a.h0, a.h);
  GatedBackward<T> pass = {};
  pass.w = a.w, pass.wt = a.wt, pass.permutation = a.permutation, pass.values = a.values;
  pass.h0 = a.h0, pass.dh = a.dh;
  pass.dbias = a.dbias, pass.dh0 = a.dh0, pass.dvalues = a.dvalues;
  with_activation(a.activation, [&](auto cell) { run_backward(pass, cell, layer, dz, h, h); });
  if (a.dz) unpack(layer.all(dz, a.dz, 1, a.steps), stream);
  if (a.dw_input) layer.multiply_gradient(dz, layer.hidden, a.x, a.inputs, a.dw_input);
}

template void rnn_forward(const RnnForward<float>&, const Stream&);
template void rnn_forward(const RnnForward<double>&, const Stream&);
template void rnn_backward(const RnnBackward<float>&, const Stream&);
template void rnn_backward(const RnnBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
