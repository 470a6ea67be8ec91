// The ordered-neurons LSTM (Shen et al. 2019) over a whole sequence. Units come in chunks of
// neighbours, each of which has one master input gate and one master forget gate. With
// u = W h_{t-1} + b + x_t, whose rows are [chunks, master in | chunks, master forget | hidden, out
// | hidden, cell | hidden, in | hidden, forget], cumsoftmax the cumulative sums of the softmax over
// the chunks, and the masters of a unit those of its chunk:
//   master_i = 1 - cumsoftmax(u_mi), master_f = cumsoftmax(u_mf), both = master_i master_f
//   o, i, f = sigmoid(u), g = tanh(u)
//   c_t = (f both + master_f - both) c_{t-1} + (i both + master_i - both) g
//   h_t = o tanh(c_t)
//
// All activations are in PyTorch's layout [steps, batch, features], contiguous. They are kept as A:
// as T, or as BFloat16 where T is float. Within all steps c is a T, and so are c0, c_n and their
// gradients. In BFloat16, a sigmoid y above 1/2 is saved as -(1 - y); the masters are computed
// again from the softmax that was saved, divided by its sum.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

template <typename T, typename A = T>
struct OnLstmForward {
  Csr w;            // [rows x hidden], rows = 2 * chunks + 4 * hidden
  int64_t chunks;   // >= 1, divides hidden
  const T* values;  // [nnz]
  const T* bias;    // [rows], or null for zeros
  const A* x;       // [steps, batch, rows], the input's contribution
  const A* h0;      // [batch, hidden], or null for zeros
  const T* c0;      // [batch, hidden], or null for zeros
  A* h;             // [steps, batch, hidden], written; what is written overlaps nothing
  A* c;             // [steps, batch, hidden] or null (not wanted), written
  T* c_n;           // [batch, hidden], the last c, written
  A* saved;         // [steps, batch, rows] or null (not wanted), written: the softmax of both
                    // masters, then o, g, i, f
  int64_t steps;    // >= 1
  int64_t batch;    // >= 1
  int threads;      // at most this many; the result has the same bits for any number
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

// Back-propagation through time, from the gradients of every h_t and of the last c. With du_t the
// gradient of u_t, which is that of x_t: db = sum_t du_t, dW = sum_t du_t h_{t-1}^T at the links.
template <typename T, typename A = T>
struct OnLstmBackward {
  Csr w;                       // [rows x hidden]
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w
  int64_t chunks;              // >= 1, divides hidden
  const T* values;             // [nnz]
  const A* h0;                 // [batch, hidden], or null for zeros
  const T* c0;                 // [batch, hidden], or null for zeros
  const A* h;                  // [steps, batch, hidden], as the forward pass wrote it
  const A* c;                  // the same
  const A* saved;              // [steps, batch, rows], the same
  const A* dh;                 // [steps, batch, hidden]
  const T* dc_n;               // [batch, hidden], or null for zeros
  A* dx;                       // [steps, batch, rows] or null (not wanted), written
  T* dbias;                    // [rows], written
  A* dh0;                      // [batch, hidden], written; null exactly when h0 is
  T* dc0;                      // [batch, hidden], written; null exactly when c0 is
  T* dvalues;                  // [nnz] or null (not wanted), written
  int64_t steps;               // >= 1
  int64_t batch;               // >= 1
  int threads;
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

template <class Isa, typename T, typename A>
void on_lstm_forward(const OnLstmForward<T, A>& args);
template <class Isa, typename T, typename A>
void on_lstm_backward(const OnLstmBackward<T, A>& args);

}  // namespace sparse_engine
