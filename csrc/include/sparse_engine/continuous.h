// Recurrent networks in continuous time over a whole sequence: dh/ds = k(h) with
//   k(h) = -rate h + tanh(x_t + W h)    (ctrnn)
//   k(h) = rate (x_t + W f(h) - h)      (rate_rnn), with f the activation,
// where x_t is held during step t. A step is `unfolds` steps of length dt_t of an explicit
// Runge-Kutta method, each of whose stages looks back on the one before only:
//   k_i = k(h + nodes[i] dt k_{i-1}),  h <- clip(h + dt sum_i weights[i] k_i).
//
// All activations are in PyTorch's layout [steps, batch, features], contiguous. They are kept as A:
// as T, or as BFloat16 where T is float. A state adds up many small steps, of which rounding would
// leave nothing: it is a T from h0 through all unfolds to h_n. What products read of it is rounded,
// and h.
#pragma once

#include "sparse_engine/activation.h"
#include "sparse_engine/bfloat16.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine {

struct RungeKutta {
  const double* nodes;    // [stages], nodes[0] = 0
  const double* weights;  // [stages]
  int64_t stages;         // >= 1
  int64_t unfolds;        // >= 1
  double clip;            // h stays in [-clip, clip], of a clip rounded to A; infinity for any h
};

template <typename T, typename A = T>
struct ContinuousForward {
  Csr w;            // [hidden x hidden]
  const T* values;  // [nnz]
  const A* x;       // [steps, batch, hidden], the input's contribution and the bias
  const T* h0;      // [batch, hidden], or null for zeros
  const T* dt;      // [steps, batch], of one unfold
  const T* rate;    // [hidden], or null for zeros
  A* h;             // [steps, batch, hidden], written; overlaps no input
  T* h_n;           // [batch, hidden] or null (not wanted), written: the state after the last step
  RungeKutta method;
  Activation activation;         // tanh, or of a cell that has a choice any
  int64_t steps;                 // >= 1
  int64_t batch;                 // >= 1
  int threads;                   // at most this many; the result has the same bits for any number
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

// Back-propagation through every stage of every unfold, from the gradient of every h_t. Nothing but
// h is needed of the forward pass: each step's stages are computed again from the state before it,
// as h has it. No gradient passes a state at the limit, nor one that is there when it is rounded.
// The gradient of a state is a T as the state is, that of what products read is rounded.
template <typename T, typename A = T>
struct ContinuousBackward {
  Csr w;                       // [hidden x hidden]
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w
  const T* values;             // [nnz]
  const A* x;                  // [steps, batch, hidden]
  const T* h0;                 // [batch, hidden], or null for zeros
  const T* dt;                 // [steps, batch]
  const T* rate;               // [hidden], or null for zeros
  const A* h;                  // [steps, batch, hidden], what the forward pass wrote
  const A* dh;                 // [steps, batch, hidden]
  const T* dh_n;               // [batch, hidden], or null for zeros
  A* dx;                       // [steps, batch, hidden] or null (not wanted), written
  T* dh0;                      // [batch, hidden], written; null exactly when h0 is
  T* ddt;                      // [steps, batch] or null (not wanted), written
  T* drate;                    // [hidden], written; null exactly when rate is
  T* dvalues;                  // [nnz] or null (not wanted), written
  RungeKutta method;
  Activation activation;  // tanh, or of a cell that has a choice any
  int64_t steps;          // >= 1
  int64_t batch;          // >= 1
  int threads;
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

// The cells in continuous time: the name of each, as in csrc/cells/<name>.h and in <name>_forward
// and <name>_backward, and its class.
#define SPARSE_ENGINE_CONTINUOUS_CELLS(each) each(ctrnn, Ctrnn) each(rate_rnn, RateRnn)

#define SPARSE_ENGINE_DECLARE(name, Class)                  \
  template <class Isa, typename T, typename A>              \
  void name##_forward(const ContinuousForward<T, A>& args); \
  template <class Isa, typename T, typename A>              \
  void name##_backward(const ContinuousBackward<T, A>& args);
SPARSE_ENGINE_CONTINUOUS_CELLS(SPARSE_ENGINE_DECLARE)
#undef SPARSE_ENGINE_DECLARE

}  // namespace sparse_engine
