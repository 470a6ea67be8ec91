#include "sequences/membranes.cuh"
#include "sparse_engine/cuda.h"
#include "sparse_engine/ltc.h"

namespace sparse_engine::cuda {
namespace {

// What both passes need.
template <typename T, int V, class Args>
Membranes<T, V> membranes_of(const Args& a, const Layer<T>& layer) {
  const Steps<T> current = layer.take(a.steps, 1), conductance = layer.take(a.steps, 1);
  pack(layer.all(current, a.current, 1, a.steps), layer.stream);
  Transfer<T> padded = layer.all(conductance, a.conductance, 1, a.steps);
  padded.padding = T(1);
  pack(padded, layer.stream);
  return {
      row_sums_of<T>(a.w, pieces_of(a.w), Drive<T>::kSums, layer.hidden, layer.shape, layer.stream),
      a.synapses,
      a.cm,
      current,
      conductance,
      a.unfolds};
}

template <typename T, int V>
void forward(const LtcForward<T>& a, const Layer<T>& layer) {
  const Membranes<T, V> membranes = membranes_of<T, V>(a, layer);
  const Resets resets = layer.resets(a.resets);
  const Steps<T> states = layer.take_states(a.h0);
  set_back(states, resets, 1, layer.stream);
  run_forward<T, V>(membranes, states, a.h, 0, resets, layer);
}

template <typename T, int V>
void backward(const LtcBackward<T>& a, const Layer<T>& layer) {
  const Stream& stream = layer.stream;
  const int64_t nnz = a.w.nnz();
  MembranesBack<T, V> back = {};
  back.stages = membranes_of<T, V>(a, layer);
  back.own = {layer.take(1 + a.unfolds, 1), layer.take(a.unfolds, 1)};
  back.sums =
      row_sums_of<T>(a.wt, pieces_of(a.wt), DriveBack<T>::kSums, layer.hidden, layer.shape, stream);
  back.synapses = transposed(a.synapses, a.permutation, nnz, stream);
  back.dn = layer.take(a.unfolds, 1), back.dd = layer.take(a.unfolds, 1);
  back.dh = layer.take(a.steps, 1);
  back.dcurrent = layer.take(a.steps, 1), back.dconductance = layer.take(a.steps, 1);
  back.dcm = take_zeros(layer), back.carried = take_zeros(layer);
  back.resets = layer.resets(a.resets);
  const Steps<T> states = layer.read_states(a.h0, a.h);
  set_back(states, back.resets, a.steps, stream);
  pack(layer.all(back.dh, a.dh, 1, a.steps), stream);
  const LinkBack<T> terms{{back.synapses, back.own.states.at(0), back.dn.at(0), back.dd.at(0)}};
  T* sums = take<T>(stream, LinkBack<T>::kSums * nnz);
  run_backward<T, V>(back, states,
                     link_sums_of<T>(a.wt, layer.shape, terms,
                                     Panelled{a.unfolds * layer.shape.panels}, sums, stream),
                     0, layer);
  run_each(FromTransposed<T>{a.synapses, a.permutation, sums, nnz, a.gradients}, nnz, stream);
  unpack(layer.all(back.dcurrent, a.dcurrent, 1, a.steps), stream);
  unpack(layer.all(back.dconductance, a.dconductance, 1, a.steps), stream);
  if (a.dh0) unpack(layer.all(back.carried, a.dh0, 1, 1), stream);
  layer.sum_columns(back.dcm, 1, layer.hidden, a.dcm);
}

}  // namespace

template <typename T>
void ltc_forward(const LtcForward<T>& a, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.rows};
  with_vector<T>(layer.shape, [&](auto vector) { forward<T, vector>(a, layer); });
}

template <typename T>
void ltc_backward(const LtcBackward<T>& a, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.rows};
  with_vector<T>(layer.shape, [&](auto vector) { backward<T, vector>(a, layer); });
}

template void ltc_forward(const LtcForward<float>&, const Stream&);
template void ltc_forward(const LtcForward<double>&, const Stream&);
template void ltc_backward(const LtcBackward<float>&, const Stream&);
template void ltc_backward(const LtcBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
