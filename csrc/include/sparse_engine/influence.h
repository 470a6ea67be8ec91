// One time step of the influence of parameters on states, in real-time recurrent learning.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

// Entries, the numbers that are learned, lie in panels of so many columns.
constexpr int kInfluenceColumns = 64;

// With J[s] the influence on state s, of `units` rows and one column for each entry:
//   P = W (sum over s of of_source[s] * J[s])   in `gates` blocks of rows
//   J'[t] = sum over s of of_state[t][s] * J[s] + sum over g of of_product[t][g] * P[g],
// and then immediate[t][e] is added at the row unit[e] of column e.
// J is kept as A: as T, or rounded to bfloat16.
template <typename T, typename A = T>
struct Influence {
  Csr w;                // [gates * units x units]
  const T* values;      // [nnz]
  const T* of_source;   // [lanes, states, units]
  const T* of_state;    // [lanes, states, states, units]
  const T* of_product;  // [lanes, states, gates, units]
  const T* immediate;   // [lanes, states, panels * kInfluenceColumns]
  const int32_t* unit;  // [panels * kInfluenceColumns], in [0, units)
  const T* upstream;    // [lanes, units], the gradient by the first state after the step; or null
  A* influence;         // [lanes, panels, states, units, kInfluenceColumns], changed in place
  T* gradient;  // [lanes, panels * kInfluenceColumns], upstream J'[0]; null without upstream
  int64_t lanes, panels, states, units, gates;  // 1 or 2 states
  int threads;  // at most this many; the result has the same bits for any number
};

template <class Isa, typename T, typename A>
void influence(const Influence<T, A>& args);

}  // namespace sparse_engine
