// Recurrent highway network (Zilly et al. 2017) over a whole sequence. A time step is a walk
// through the levels l = 0 .. depth - 1, each of which has a recurrent weight R_l of its own. With
// s the state, m a mask that stays the same for all steps, and the input in the first few levels
// only:
//   u = R_l (m s) + b_l + x_{t,l}, in blocks of `hidden` features
//   h = tanh(u_0), t = sigmoid(u_1), c = 1 - t, or with three blocks c = sigmoid(u_2)
//   s = h t + s c
// and the output y_t is the state behind the last level.
//
// Row g * hidden + i of a weight belongs to block g of unit i; hidden and the number of blocks are
// the same for all levels. All activations are in PyTorch's layout, contiguous.
//
// Activations are kept as A: as T, or as BFloat16 where T is float. Within all steps s is a T, and
// so is m. In BFloat16, a sigmoid y above 1/2 is saved as -(1 - y), and the m s that a weight's
// gradient is made of is rounded once more, from the s that was saved.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

// One level's weight, R_l.
template <typename T>
struct RhnLevel {
  Csr w;                       // [blocks * hidden x hidden], 2 or 3 blocks
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w
  const T* values;             // [nnz]
};

template <typename T, typename A = T>
struct RhnForward {
  const RhnLevel<T>* levels;  // [depth]; wt and permutation are not read
  int64_t depth;              // >= 1
  int64_t fed;                // 0 .. depth, levels that the input enters
  const A* x;                 // [steps, fed, batch, blocks * hidden], the input's contribution
  const A* s0;                // [batch, hidden], or null for zeros
  const T* mask;              // [batch, hidden], or null for ones
  const T* bias;              // [depth, blocks * hidden], or null for zeros
  A* y;                       // [steps, batch, hidden], written; what is written overlaps nothing
  A* saved;                   // [steps, depth, batch, (blocks + 1) * hidden] or null (not wanted),
                              // written: h, t (, c), and the state before the level
  int64_t steps;              // >= 1
  int64_t batch;              // >= 1
  int threads;                // at most this many; the result has the same bits for any number
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

// Back-propagation through time, from the gradients of every y_t. With du the gradient of u:
// dx = du of the levels that are fed, db_l = sum_t du, dR_l = sum_t du (m s)^T at the links.
template <typename T, typename A = T>
struct RhnBackward {
  const RhnLevel<T>* levels;  // [depth]
  int64_t depth;              // >= 1
  int64_t fed;                // 0 .. depth
  const T* mask;              // [batch, hidden], or null for ones
  const A* saved;             // [steps, depth, batch, (blocks + 1) * hidden], as written
  const A* dy;                // [steps, batch, hidden]
  A* dx;                      // [steps, fed, batch, blocks * hidden] or null (not wanted), written
  A* ds0;                     // [batch, hidden] or null (not wanted), written
  T* dbias;                   // [depth, blocks * hidden], written
  T* dvalues;                 // [nnz of all levels, one after the other] or null (not wanted)
  int64_t steps;              // >= 1
  int64_t batch;              // >= 1
  int threads;
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

template <class Isa, typename T, typename A>
void rhn_forward(const RhnForward<T, A>& args);
template <class Isa, typename T, typename A>
void rhn_backward(const RhnBackward<T, A>& args);

}  // namespace sparse_engine
