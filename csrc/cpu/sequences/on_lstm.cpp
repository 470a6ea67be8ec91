#include "sequences/on_lstm_backward.h"
#include "sequences/on_lstm_forward.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {

template <class Isa, typename T, typename A>
void on_lstm_forward(const OnLstmForward<T, A>& a) {
  with_panels<T, A>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    forward_loop<T, A, decltype(lanes)::value, decltype(vectors)::value>(a, panels);
  });
}

template <class Isa, typename T, typename A>
void on_lstm_backward(const OnLstmBackward<T, A>& a) {
  with_panels<T, A>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    backward_loop<T, A, decltype(lanes)::value, decltype(vectors)::value>(a, panels);
  });
}

template void on_lstm_forward<SPARSE_ENGINE_ISA>(
    const OnLstmForward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);
template void on_lstm_backward<SPARSE_ENGINE_ISA>(
    const OnLstmBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
