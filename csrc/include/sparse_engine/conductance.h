// Conductance synapses: what the links of a matrix drive through the membranes of their targets.
//
// The link from source i to target j opens a conductance g_ij = W_ij sigmoid(sigma_ij (x_i -
// mu_ij)) towards the potential erev_ij. Activations are in PyTorch's layout [columns, features],
// contiguous.
#pragma once

#include "sparse_engine/matrix.h"

namespace sparse_engine {

// One entry per link, in the order of the pattern.
template <typename T>
struct Synapses {
  const T* weight;  // [nnz], W
  const T* mu;      // [nnz]
  const T* sigma;   // [nnz]
  const T* erev;    // [nnz]
};

// Their gradients; overlap nothing.
template <typename T>
struct SynapseGradients {
  T* weight;  // [nnz], written
  T* mu;      // [nnz], written
  T* sigma;   // [nnz], written
  T* erev;    // [nnz], written
};

// conductance_j = sum_i g_ij and current_j = sum_i g_ij erev_ij.
template <typename T>
struct ConductanceForward {
  Csr w;  // [targets x sources]
  Synapses<T> synapses;
  const T* x;       // [columns, sources]
  T* current;       // [columns, targets], written; overlaps no input
  T* conductance;   // [columns, targets], written; overlaps no input
  int64_t columns;  // >= 1
  int threads;      // at most this many; the result has the same bits for any number
};

template <class Isa, typename T>
void conductance_forward(const ConductanceForward<T>& args);

template <typename T>
struct ConductanceBackward {
  Csr wt;                      // [sources x targets], the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt has entry permutation[p] of the synapses
  Synapses<T> synapses;
  const T* x;             // [columns, sources]
  const T* dcurrent;      // [columns, targets]
  const T* dconductance;  // [columns, targets]
  T* dx;                  // [columns, sources], written
  SynapseGradients<T> gradients;
  int64_t columns;  // >= 1
  int threads;
};

template <class Isa, typename T>
void conductance_backward(const ConductanceBackward<T>& args);

}  // namespace sparse_engine
