// Continuous-time recurrent networks over a whole sequence: dh/ds = f(h) with
//   f(h) = -rate h + tanh(x_t + W h),
// where x_t is held during step t. A step is `unfolds` steps of length dt_t of an explicit
// Runge-Kutta method, each of whose stages looks back on the one before only:
//   k_i = f(h + nodes[i] dt k_{i-1}),  h <- clip(h + dt sum_i weights[i] k_i).
//
// All activations are in PyTorch's layout [steps, batch, features], contiguous.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

struct RungeKutta {
  const double* nodes;    // [stages], nodes[0] = 0
  const double* weights;  // [stages]
  int64_t stages;         // >= 1
  int64_t unfolds;        // >= 1
  double clip;            // h stays in [-clip, clip]; infinity for any h
};

template <typename T>
struct CtrnnForward {
  Csr w;            // [hidden x hidden]
  const T* values;  // [nnz]
  const T* x;       // [steps, batch, hidden], the input's contribution and the bias
  const T* h0;      // [batch, hidden], or null for zeros
  const T* dt;      // [steps, batch], of one unfold
  const T* rate;    // [hidden], or null for zeros
  T* h;             // [steps, batch, hidden], written; overlaps no input
  RungeKutta method;
  int64_t steps;  // >= 1
  int64_t batch;  // >= 1
  int threads;    // at most this many; the result has the same bits for any number
};

template <class Isa, typename T>
void ctrnn_forward(const CtrnnForward<T>& args);

// Back-propagation through every stage of every unfold, from the gradient of every h_t. Nothing but
// h is needed of the forward pass: each step's stages are computed again from the state before it.
// No gradient passes a state at the limit.
template <typename T>
struct CtrnnBackward {
  Csr w;                       // [hidden x hidden]
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w
  const T* values;             // [nnz]
  const T* x;                  // [steps, batch, hidden]
  const T* h0;                 // [batch, hidden], or null for zeros
  const T* dt;                 // [steps, batch]
  const T* rate;               // [hidden], or null for zeros
  const T* h;                  // [steps, batch, hidden], what ctrnn_forward wrote
  const T* dh;                 // [steps, batch, hidden]
  T* dx;                       // [steps, batch, hidden] or null (not wanted), written
  T* dh0;                      // [batch, hidden], written; null exactly when h0 is
  T* ddt;                      // [steps, batch] or null (not wanted), written
  T* drate;                    // [hidden], written; null exactly when rate is
  T* dvalues;                  // [nnz] or null (not wanted), written
  RungeKutta method;
  int64_t steps;  // >= 1
  int64_t batch;  // >= 1
  int threads;
};

template <class Isa, typename T>
void ctrnn_backward(const CtrnnBackward<T>& args);

}  // namespace sparse_engine
