#include "on_lstm_backward.h"
#include "on_lstm_forward.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {

template <class Isa, typename T, typename A>
void on_lstm_forward(const OnLstmForward<T, A>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    forward_loop<T, A, decltype(lanes)::value, decltype(vectors)::value>(a, panels.count);
  });
}

template <class Isa, typename T, typename A>
void on_lstm_backward(const OnLstmBackward<T, A>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    backward_loop<T, A, decltype(lanes)::value, decltype(vectors)::value>(a, panels.count);
  });
}

#if !defined(SPARSE_ENGINE_ONLY_NARROW)
template void on_lstm_forward<SPARSE_ENGINE_ISA, float>(const OnLstmForward<float>&);
template void on_lstm_forward<SPARSE_ENGINE_ISA, double>(const OnLstmForward<double>&);
template void on_lstm_backward<SPARSE_ENGINE_ISA, float>(const OnLstmBackward<float>&);
template void on_lstm_backward<SPARSE_ENGINE_ISA, double>(const OnLstmBackward<double>&);
#endif
template void on_lstm_forward<SPARSE_ENGINE_ISA, float>(const OnLstmForward<float, BFloat16>&);
template void on_lstm_backward<SPARSE_ENGINE_ISA, float>(const OnLstmBackward<float, BFloat16>&);

}  // namespace sparse_engine
