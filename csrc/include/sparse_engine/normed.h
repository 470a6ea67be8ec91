// Recurrent cells with layer normalisation (Ba et al. 2016), over a whole sequence: RNN and LSTM.
// Row g * hidden + u of the weight belongs to gate g of unit u. For each column, with mean and
// variance (the mean squared deviation) over all of its features,
//   LN(u) = gain (u - mean(u)) / sqrt(var(u) + eps) + bias
//   z_t = x_t + LN(W h_{t-1})
//   RNN (1 gate): h_t = act(z_t)
//   LSTM (4 gates i, f, g, o, blocks of z_t):
//     c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g), h_t = sigmoid(o) tanh(LN_c(c_t))
//
// Activations are in PyTorch's layout [steps, batch, features], contiguous, but for what the
// backward pass needs: [steps, saved, hidden, batch], features x batch as both loops have it. With
// `first_row`, sequences are packed as in rnn.h, and what step t saved is [saved, hidden, rows of
// step t]. With n = (u - mean(u)) scale(u) and scale(u) = 1 / sqrt(var(u) + eps), the RNN saves n,
// the LSTM n of each gate and then c; what the gates were is computed again. In the same way,
// `moments` are what all units of a column share, [steps, moments, batch]: scale(u), and for the
// LSTM mean(c) and scale(c).
#pragma once

#include "sparse_engine/matrix.h"
#include "sparse_engine/rnn.h"

namespace sparse_engine {

// The parameters of a normalisation of `n` features.
template <typename T>
struct Norm {
  const T* gain;  // [n], or null for ones
  const T* bias;  // [n], or null for zeros
  T eps;          // >= 0
};

// Their gradients.
template <typename T>
struct NormGradient {
  T* gain;  // [n], written
  T* bias;  // [n], written
};

template <typename T>
struct NormedForward {
  Csr w;                     // [gates * hidden x hidden]
  const T* values;           // [nnz]
  Norm<T> norm;              // of gates * hidden features
  Norm<T> c_norm;            // of hidden features; of the LSTM
  const T* x;                // [steps, batch, gates * hidden], the input's contribution
  const T* h0;               // [batch, hidden], or null for zeros
  const T* c0;               // [batch, hidden], or null for zeros; of the LSTM
  T* h;                      // [steps, batch, hidden], written; what is written overlaps nothing
  T* c_n;                    // [batch, hidden], the LSTM's last c, written
  T* saved;                  // [steps, saved, hidden, batch] or null (not wanted), written
  T* moments;                // [steps, moments, batch], written; null exactly when `saved` is
  const int64_t* first_row;  // [steps + 1], as in rnn.h, or null
  int64_t steps;             // >= 1
  int64_t batch;             // >= 1
  Activation activation;     // of the RNN
  T clip;                    // of the LSTM: c_t is kept in [-clip, clip]; may be infinite
  int threads;               // at most this many; the result has the same bits for any number
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

// Back-propagation through time, from the gradients of every h_t and of the last c. With dz_t and
// du_t the gradients of z_t and W h_{t-1}: dx_t = dz_t, dbias = sum_t dz_t,
// dgain = sum_t dz_t n_t, dW = sum_t du_t h_{t-1}^T at the links.
template <typename T>
struct NormedBackward {
  Csr w;                       // [gates * hidden x hidden]
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w
  const T* values;             // [nnz]
  Norm<T> norm;                // as in the forward pass; its eps is not read
  Norm<T> c_norm;              // as in the forward pass; its eps is not read
  const T* h0;                 // [batch, hidden], or null for zeros
  const T* c0;                 // [batch, hidden], or null for zeros
  const T* x;                // [steps, batch, gates * hidden], as in the forward pass; of the LSTM
  const T* h;                // [steps, batch, hidden], as the forward pass wrote it
  const T* saved;            // [steps, saved, hidden, batch], the same
  const T* moments;          // [steps, moments, batch], the same
  const T* dh;               // [steps, batch, hidden]
  const T* dc_n;             // [batch, hidden], or null for zeros
  T* dx;                     // [steps, batch, gates * hidden] or null (not wanted), written
  NormGradient<T> dnorm;     // of gates * hidden features
  NormGradient<T> dc_norm;   // of hidden features; of the LSTM
  T* dh0;                    // [batch, hidden], written; null exactly when h0 is
  T* dc0;                    // [batch, hidden], written; null exactly when c0 is
  T* dvalues;                // [nnz] or null (not wanted), written
  const int64_t* first_row;  // [steps + 1], as in the forward pass, or null
  int64_t steps;             // >= 1
  int64_t batch;             // >= 1
  Activation activation;     // as in the forward pass
  T clip;                    // the same; the gradient of what was clipped is zero
  int threads;
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

template <class Isa, typename T>
void normed_rnn_forward(const NormedForward<T>& args);
template <class Isa, typename T>
void normed_rnn_backward(const NormedBackward<T>& args);
template <class Isa, typename T>
void normed_lstm_forward(const NormedForward<T>& args);
template <class Isa, typename T>
void normed_lstm_backward(const NormedBackward<T>& args);

}  // namespace sparse_engine
