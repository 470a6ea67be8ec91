// The Elman recurrence over a whole sequence: h_t = act(z_t + b + W h_{t-1}).
//
// All activations are in PyTorch's layout [steps, batch, features], contiguous. With `first_row`,
// sequences have different lengths and come packed: the longest first; step t has the rows of those
// that are still running only, from row first_row[t] to first_row[t + 1] of a [rows, features]
// array; `batch` are the rows of step 0.
//
// With `resets`, [steps, batch], an episode begins at some steps: where resets[t, n] is true,
// h_{t-1} of sequence n counts as zeros in step t, and its gradient is zero. Not with `first_row`.
#pragma once

#include "sparse_engine/activation.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine {

// Activations are kept as A: as T, or as BFloat16 where T is float.
template <typename T, typename A = T>
struct RnnForward {
  Csr w;             // [hidden x hidden]
  const T* values;   // [nnz]
  const T* bias;     // [hidden], or null for zeros
  const A* x;        // [steps, batch, inputs]; without `w_input` this is z and inputs = hidden
  const T* w_input;  // [hidden, inputs], dense: z_t = w_input x_t; or null
  const A* h0;       // [batch, hidden], or null for zeros
  A* h;              // [steps, batch, hidden], written; overlaps no input
  const int64_t* first_row;  // [steps + 1], by one at least and never more than before; or null
  int64_t steps;             // >= 1
  int64_t batch;             // >= 1
  int64_t inputs;            // >= 1
  Activation activation;     // tanh or relu
  int threads;               // at most this many; the result has the same bits for any number
  // Set where an entry of w.idx is out of range; the results are incomplete then. Entries are
  // looked at in the first step that follows them.
  bool* out_of_range = nullptr;
  const bool* resets = nullptr;  // [steps, batch], or null: no episode begins
};

template <class Isa, typename T, typename A>
void rnn_forward(const RnnForward<T, A>& args);

// Back-propagation through time, from the gradient of every h_t:
//   dz_t = act'(h_t) (dh_t + W^T dz_{t+1}),  db = sum_t dz_t,  dh0 = W^T dz_0,
//   dW = sum_t dz_t h_{t-1}^T at the links,  dw_input = sum_t dz_t x_t^T.
template <typename T, typename A = T>
struct RnnBackward {
  Csr w;                       // [hidden x hidden]
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w
  const T* values;             // [nnz]
  const A* h0;                 // [batch, hidden], or null for zeros
  const A* h;                  // [steps, batch, hidden], what rnn_forward wrote
  const A* dh;                 // [steps, batch, hidden]
  const A* x;                  // [steps, batch, inputs]; read for dw_input only
  A* dz;                       // [steps, batch, hidden] or null (not wanted); overlaps no input
  T* dw_input;                 // [hidden, inputs] or null (not wanted), written
  T* dbias;                    // [hidden], written
  A* dh0;                      // [batch, hidden], written; null exactly when h0 is
  T* dvalues;                  // [nnz] or null (not wanted), written
  const int64_t* first_row;    // [steps + 1], as in the forward pass, or null
  int64_t steps;               // >= 1
  int64_t batch;               // >= 1
  int64_t inputs;              // >= 1
  Activation activation;       // tanh or relu
  int threads;
  const bool* resets = nullptr;  // [steps, batch], as in the forward pass, or null
};

template <class Isa, typename T, typename A>
void rnn_backward(const RnnBackward<T, A>& args);

}  // namespace sparse_engine
