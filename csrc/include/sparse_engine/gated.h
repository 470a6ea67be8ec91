// Recurrent cells with gates, over a whole sequence: LSTM and GRU. Row g * hidden + u of a weight
// belongs to gate g of unit u. With v_t = w_input x_t + b_input and u_t = W h_{t-1} + b, in blocks
// of `hidden` features:
//   LSTM (4 gates i, f, g, o):
//     i, f, o = sigmoid(v_t + u_t), g = tanh(v_t + u_t), c_t = f c_{t-1} + i g, h_t = o tanh(c_t)
//   GRU (3 gates r, z, n):
//     r, z = sigmoid(v_t + u_t), n = tanh(v_t + r u_t), h_t = (1 - z) n + z h_{t-1}
//
// Activations are in PyTorch's layout [steps, batch, features], contiguous, but for what a unit
// saves for the backward pass: [steps, hidden, saved, batch], features x batch as both loops have
// it. With `first_row`, sequences are packed as in rnn.h, and what step t saved is [hidden, saved,
// rows of step t]. The LSTM saves i, f, g, o and c, the GRU r, z, n and the candidate's part of u.
// The GRU has no c: its pointers are null.
//
// Activations are kept as A: as T, or as BFloat16 where T is float. What goes on from step to step
// other than by the weight, c or the GRU's h, does so as a T; c0, c_n and their gradients are T,
// too. In BFloat16, a sigmoid y above 1/2 is saved as -(1 - y), and i, f and g of a c that was
// clipped as zeros.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

// h_t = W_hr m_t, where the unprojected output m_t is what h_t is otherwise: the LSTM's projection
// (Sak et al. 2014). `outputs`, the size of h, is `hidden` without one.
template <typename T>
struct Projection {
  Csr w;                       // [outputs x hidden]; its ptr is null where there is none
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [links], link p of wt is link permutation[p] of w
  const T* values;             // [links]
};

template <typename T, typename A = T>
struct GatedForward {
  Csr w;                     // [gates * hidden x outputs]
  const T* values;           // [nnz]
  const T* bias;             // [gates * hidden], or null for zeros
  const A* x;                // [steps, batch, inputs]; without `w_input`, inputs = gates * hidden
  const T* w_input;          // [gates * hidden, inputs], dense, or null where x is its product
  const T* b_input;          // [gates * hidden], or null for zeros
  const A* h0;               // [batch, hidden], or null for zeros
  const T* c0;               // [batch, hidden], or null for zeros
  A* h;                      // [steps, batch, hidden], written; what is written overlaps nothing
  T* c_n;                    // [batch, hidden], the last c, written
  A* saved;                  // [steps, hidden, saved, batch] or null (not wanted), written
  const int64_t* first_row;  // [steps + 1], as in rnn.h, or null
  int64_t steps;             // >= 1
  int64_t batch;             // >= 1
  int64_t inputs;            // >= 1
  Projection<T> projection;  // of the LSTM, or none
  T clip;                    // of the LSTM: c_t is kept in [-clip, clip]; may be infinite
  int threads;               // at most this many; the result has the same bits for any number
  // Set where an entry of w.idx is out of range; the results are incomplete then. Entries are
  // looked at in the first step that follows them.
  bool* out_of_range = nullptr;
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

// Back-propagation through time, from the gradients of every h_t and of the last c. With dv_t and
// du_t the gradients of v_t and u_t: db = sum_t du_t, dW = sum_t du_t h_{t-1}^T at the links,
// db_input = sum_t dv_t, dw_input = sum_t dv_t x_t^T.
template <typename T, typename A = T>
struct GatedBackward {
  Csr w;                       // [gates * hidden x outputs]
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w
  const T* values;             // [nnz]
  const A* h0;                 // [batch, outputs], or null for zeros
  const T* c0;                 // [batch, hidden], or null for zeros
  const A* h;                  // [steps, batch, outputs], as the forward pass wrote it
  const A* saved;              // [steps, hidden, saved, batch], the same
  const A* dh;                 // [steps, batch, outputs]
  const T* dc_n;               // [batch, hidden], or null for zeros
  const A* x;                  // [steps, batch, inputs]; read for dw_input only
  A* dv;                       // [steps, batch, gates * hidden] or null (not wanted), written
  T* dw_input;                 // [gates * hidden, inputs] or null (not wanted), written
  T* db_input;                 // [gates * hidden] or null (not wanted), written
  T* dbias;                    // [gates * hidden], written
  A* dh0;                      // [batch, outputs], written; null exactly when h0 is
  T* dc0;                      // [batch, hidden], written; null exactly when c0 is
  T* dvalues;                  // [nnz] or null (not wanted), written
  T* dprojection;              // [links] or null (not wanted, or no projection), written
  const int64_t* first_row;    // [steps + 1], as in the forward pass, or null
  int64_t steps;               // >= 1
  int64_t batch;               // >= 1
  int64_t inputs;              // >= 1
  Projection<T> projection;    // as in the forward pass
  T clip;                      // the same; the gradient of what was clipped is zero
  int threads;
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

// The cells with gates: the name of each, as in csrc/cells/<name>.h and in <name>_forward and
// <name>_backward, and its class.
#define SPARSE_ENGINE_GATED_CELLS(each) each(lstm, Lstm) each(gru, Gru) each(mgu, Mgu)

#define SPARSE_ENGINE_DECLARE(name, Class)             \
  template <class Isa, typename T, typename A>         \
  void name##_forward(const GatedForward<T, A>& args); \
  template <class Isa, typename T, typename A>         \
  void name##_backward(const GatedBackward<T, A>& args);
SPARSE_ENGINE_GATED_CELLS(SPARSE_ENGINE_DECLARE)
#undef SPARSE_ENGINE_DECLARE

}  // namespace sparse_engine
