#include "cells/rnn.h"
#include "sequences/recurrent.cuh"
#include "sparse_engine/rnn.h"

namespace sparse_engine::cuda {
namespace {

// An Elman unit as the time loop takes it: h is all that a step leaves.
struct ElmanOnRows {
  static constexpr int kGates = 1, kRows = 1;
  static constexpr bool kSaves = false, kHasMemory = false, kCarries = false;

  Elman cell;

  template <typename T>
  __device__ T forward(T (&rows)[1], const T (&u)[1], T&) const {
    return cell.forward<ScalarMath<T>>(rows[0] + u[0]);
  }

  template <typename T>
  __device__ void backward(T (&rows)[1], T dh, T, T now, T&) const {
    rows[0] = cell.backward<ScalarMath<T>>(now, dh);
  }
};

}  // namespace

template <typename T, typename A>
void rnn_forward(const RnnForward<T, A>& a, const Stream& stream) {
  const Layer<A> layer = layer_of<A>(a, a.w.rows, stream);
  const Steps<A> states = layer.take_states(a.h0);
  const Steps<A> h = a.resets ? layer.take(a.steps, 1) : states.from(1);
  GatedForward<T> pass = {};
  pass.w = a.w, pass.values = a.values, pass.bias = a.bias, pass.resets = a.resets;
  pack(layer.all(h, a.x, 1, a.steps), stream);  // each h_t takes the place of its x_t
  run_forward(pass, ElmanOnRows{{a.activation}}, layer, h, states, Steps<A>{}, h, a.h0 != nullptr);
  unpack(layer.all(h, a.h, 1, a.steps), stream);
}

template <typename T, typename A>
void rnn_backward(const RnnBackward<T, A>& a, const Stream& stream) {
  const Layer<A> layer = layer_of<A>(a, a.w.rows, stream);
  const Steps<A> dz = layer.take(a.steps, 1), h = layer.read_states(a.h0, a.h);
  GatedBackward<T> pass = {};
  pass.w = a.w, pass.wt = a.wt, pass.permutation = a.permutation, pass.values = a.values;
  pass.dbias = a.dbias, pass.dvalues = a.dvalues, pass.resets = a.resets;
  run_backward(pass, ElmanOnRows{{a.activation}}, layer, dz, h, h, {a.h0, a.dh, a.dh0});
  if (a.dz) unpack(layer.all(dz, a.dz, 1, a.steps), stream);
}

template void rnn_forward(const RnnForward<float>&, const Stream&);
template void rnn_forward(const RnnForward<double>&, const Stream&);
template void rnn_backward(const RnnBackward<float>&, const Stream&);
template void rnn_backward(const RnnBackward<double>&, const Stream&);
template void rnn_forward(const RnnForward<float, BFloat16>&, const Stream&);
template void rnn_backward(const RnnBackward<float, BFloat16>&, const Stream&);

}  // namespace sparse_engine::cuda
