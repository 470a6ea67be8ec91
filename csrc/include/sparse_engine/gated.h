// Recurrent cells with gates, over a whole sequence: LSTM and GRU. Row g * hidden + u of the weight
// belongs to gate g of unit u. With u_t = W h_{t-1} + b, in blocks of `hidden` features:
//   LSTM (4 gates i, f, g, o):
//     i, f, o = sigmoid(x_t + u_t), g = tanh(x_t + u_t), c_t = f c_{t-1} + i g, h_t = o tanh(c_t)
//   GRU (3 gates r, z, n):
//     r, z = sigmoid(x_t + u_t), n = tanh(x_t + r u_t), h_t = (1 - z) n + z h_{t-1}
//
// All activations are in PyTorch's layout [steps, batch, features], contiguous. The GRU has no c:
// its pointers are null.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

// What a unit saves for the backward pass: i, f, g, o, or r, z, n and the candidate's part of u.
constexpr int kSavedPerUnit = 4;

template <typename T>
struct GatedForward {
  Csr w;            // [gates * hidden x hidden]
  const T* values;  // [nnz]
  const T* bias;    // [gates * hidden], or null for zeros
  const T* x;       // [steps, batch, gates * hidden], the input's contribution
  const T* h0;      // [batch, hidden], or null for zeros
  const T* c0;      // [batch, hidden], or null for zeros
  T* h;             // [steps, batch, hidden], written; what is written overlaps nothing
  T* c;             // [steps, batch, hidden] or null (not wanted), written
  T* c_n;           // [batch, hidden], the last c, written
  T* saved;         // [steps, batch, kSavedPerUnit * hidden] or null (not wanted), written
  int64_t steps;    // >= 1
  int64_t batch;    // >= 1
  int threads;      // at most this many; the result has the same bits for any number
};

// Back-propagation through time, from the gradients of every h_t and of the last c. With du_t the
// gradient of u_t: dh0 = W^T du_0 + ..., db = sum_t du_t, dW = sum_t du_t h_{t-1}^T at the links.
template <typename T>
struct GatedBackward {
  Csr w;                       // [gates * hidden x hidden]
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w
  const T* values;             // [nnz]
  const T* h0;                 // [batch, hidden], or null for zeros
  const T* c0;                 // [batch, hidden], or null for zeros
  const T* h;                  // [steps, batch, hidden], as the forward pass wrote it
  const T* c;                  // the same
  const T* saved;              // [steps, batch, kSavedPerUnit * hidden], the same
  const T* dh;                 // [steps, batch, hidden]
  const T* dc_n;               // [batch, hidden], or null for zeros
  T* dx;                       // [steps, batch, gates * hidden] or null (not wanted), written
  T* dbias;                    // [gates * hidden], written
  T* dh0;                      // [batch, hidden], written; null exactly when h0 is
  T* dc0;                      // [batch, hidden], written; null exactly when c0 is
  T* dvalues;                  // [nnz] or null (not wanted), written
  int64_t steps;               // >= 1
  int64_t batch;               // >= 1
  int threads;
};

template <class Isa, typename T>
void lstm_forward(const GatedForward<T>& args);
template <class Isa, typename T>
void lstm_backward(const GatedBackward<T>& args);
template <class Isa, typename T>
void gru_forward(const GatedForward<T>& args);
template <class Isa, typename T>
void gru_backward(const GatedBackward<T>& args);

}  // namespace sparse_engine
