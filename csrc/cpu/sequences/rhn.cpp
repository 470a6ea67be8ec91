#include "sequences/rhn_backward.h"
#include "sequences/rhn_forward.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {

template <class Isa, typename T, typename A>
void rhn_forward(const RhnForward<T, A>& a) {
  with_cell<T, A>(a, [&](auto lanes, auto vectors, auto cell, int64_t panels) {
    forward_loop<T, A, decltype(lanes)::value, decltype(vectors)::value, decltype(cell)>(a, panels);
  });
}

template <class Isa, typename T, typename A>
void rhn_backward(const RhnBackward<T, A>& a) {
  with_cell<T, A>(a, [&](auto lanes, auto vectors, auto cell, int64_t panels) {
    backward_loop<T, A, decltype(lanes)::value, decltype(vectors)::value, decltype(cell)>(a,
                                                                                          panels);
  });
}

template void rhn_forward<SPARSE_ENGINE_ISA>(
    const RhnForward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);
template void rhn_backward<SPARSE_ENGINE_ISA>(
    const RhnBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
