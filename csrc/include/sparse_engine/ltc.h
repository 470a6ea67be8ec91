// Liquid time-constant networks (Hasani et al. 2021) over a whole sequence. Each step takes
// `unfolds` semi-implicit Euler steps of the membranes,
//   v <- (cm v + current_t + sum_i g_ij erev_ij) / (cm + conductance_t + sum_i g_ij),
// with g_ij = W_ij sigmoid(sigma_ij (v_i - mu_ij)); h_t is v after the last of them.
//
// All activations are in PyTorch's layout [steps, batch, features], contiguous. They are kept as A:
// as T, or as BFloat16 where T is float. Potentials are T's from h0 through all unfolds of all
// steps to h_n; only h is rounded.
#pragma once

#include "sparse_engine/bfloat16.h"
#include "sparse_engine/conductance.h"

namespace sparse_engine {

template <typename T, typename A = T>
struct LtcForward {
  Csr w;  // [hidden x hidden]
  Synapses<T> synapses;
  const T* cm;           // [hidden]
  const A* current;      // [steps, batch, hidden], of input and leak
  const A* conductance;  // [steps, batch, hidden], of input and leak
  const T* h0;           // [batch, hidden], or null for zeros
  A* h;                  // [steps, batch, hidden], written; overlaps no input
  T* h_n;                // [batch, hidden] or null (not wanted), written: v after the last step
  int64_t steps;         // >= 1
  int64_t batch;         // >= 1
  int64_t unfolds;       // >= 1
  int threads;           // at most this many; the result has the same bits for any number
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

template <class Isa, typename T, typename A>
void ltc_forward(const LtcForward<T, A>& args);

// Back-propagation through all unfolds. Only h is kept between the two passes: the unfolds of a
// step are computed again, from h as it was kept, when the step's turn comes. With n / d the
// quotient above and dv the gradient of its value v':
//   dn = dv / d,  dd = -dn v',  dcurrent_t = sum dn,  dconductance_t = sum dd,
//   dcm = sum dn v + dd,  dg_ij = dn_j erev_ij + dd_j,
// and the gradient of v before the unfold is cm dn + what the links carry back. A term of dcm is dn
// times what v changes by, of which a rounded h leaves little where that is small.
template <typename T, typename A = T>
struct LtcBackward {
  Csr w;                       // [hidden x hidden]
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w
  Synapses<T> synapses;
  const T* cm;           // [hidden]
  const A* current;      // [steps, batch, hidden]
  const A* conductance;  // [steps, batch, hidden]
  const T* h0;           // [batch, hidden], or null for zeros
  const A* h;            // [steps, batch, hidden], what ltc_forward wrote
  const A* dh;           // [steps, batch, hidden]
  const T* dh_n;         // [batch, hidden], or null for zeros
  SynapseGradients<T> gradients;
  T* dcm;           // [hidden], written
  A* dcurrent;      // [steps, batch, hidden], written; overlaps no input
  A* dconductance;  // [steps, batch, hidden], written; overlaps no input
  T* dh0;           // [batch, hidden], written; null exactly when h0 is
  int64_t steps;    // >= 1
  int64_t batch;    // >= 1
  int64_t unfolds;  // >= 1
  int threads;
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

template <class Isa, typename T, typename A>
void ltc_backward(const LtcBackward<T, A>& args);

}  // namespace sparse_engine
