#include "sparse_engine/lif.h"

#include "sequences/lif_backward.h"
#include "sequences/lif_forward.h"
#include "sequences/lif_simulation.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {

template <class Isa, typename T>
void lif_forward(const LifForward<T>& a) {
  with_panels<T, T>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    forward<T, decltype(lanes)::value, decltype(vectors)::value>(a, panels);
  });
}

template <class Isa, typename T>
void lif_backward(const LifBackward<T>& a) {
  with_panels<T, T>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    backward<T, decltype(lanes)::value, decltype(vectors)::value>(a, panels);
  });
}

template <class Isa, typename T>
void lif_simulate(const LifSimulation<T>& a) {
  simulate(a);
}

template void lif_forward<SPARSE_ENGINE_ISA>(const LifForward<SPARSE_ENGINE_REAL>&);
template void lif_backward<SPARSE_ENGINE_ISA>(const LifBackward<SPARSE_ENGINE_REAL>&);
template void lif_simulate<SPARSE_ENGINE_ISA>(const LifSimulation<SPARSE_ENGINE_REAL>&);

}  // namespace sparse_engine
