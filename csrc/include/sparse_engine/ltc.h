// Liquid time-constant networks (Hasani et al. 2021) over a whole sequence. Each step takes
// `unfolds` semi-implicit Euler steps of the membranes,
//   v <- (cm v + current_t + sum_i g_ij erev_ij) / (cm + conductance_t + sum_i g_ij),
// with g_ij = W_ij sigmoid(sigma_ij (v_i - mu_ij)); h_t is v after the last of them.
//
// All activations are in PyTorch's layout [steps, batch, features], contiguous.
#pragma once

#include "sparse_engine/conductance.h"

namespace sparse_engine {

template <typename T>
struct LtcForward {
  Csr w;  // [hidden x hidden]
  Synapses<T> synapses;
  const T* cm;           // [hidden]
  const T* current;      // [steps, batch, hidden], of input and leak
  const T* conductance;  // [steps, batch, hidden], of input and leak
  const T* h0;           // [batch, hidden], or null for zeros
  T* h;                  // [steps, batch, hidden], written; overlaps no input
  int64_t steps;         // >= 1
  int64_t batch;         // >= 1
  int64_t unfolds;       // >= 1
  int threads;           // at most this many; the result has the same bits for any number
};

template <class Isa, typename T>
void ltc_forward(const LtcForward<T>& args);

// Back-propagation through all unfolds. Only h is kept between the two passes: the unfolds of a
// step are computed again, with the same bits, when the step's turn comes. With n / d the quotient
// above and dv the gradient of its value v':
//   dn = dv / d,  dd = -dn v',  dcurrent_t = sum dn,  dconductance_t = sum dd,
//   dcm = sum dn v + dd,  dg_ij = dn_j erev_ij + dd_j,
// and the gradient of v before the unfold is cm dn + what the links carry back.
template <typename T>
struct LtcBackward {
  Csr w;                       // [hidden x hidden]
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w
  Synapses<T> synapses;
  const T* cm;           // [hidden]
  const T* current;      // [steps, batch, hidden]
  const T* conductance;  // [steps, batch, hidden]
  const T* h0;           // [batch, hidden], or null for zeros
  const T* h;            // [steps, batch, hidden], what ltc_forward wrote
  const T* dh;           // [steps, batch, hidden]
  SynapseGradients<T> gradients;
  T* dcm;           // [hidden], written
  T* dcurrent;      // [steps, batch, hidden], written; overlaps no input
  T* dconductance;  // [steps, batch, hidden], written; overlaps no input
  T* dh0;           // [batch, hidden], written; null exactly when h0 is
  int64_t steps;    // >= 1
  int64_t batch;    // >= 1
  int64_t unfolds;  // >= 1
  int threads;
};

template <class Isa, typename T>
void ltc_backward(const LtcBackward<T>& args);

}  // namespace sparse_engine
