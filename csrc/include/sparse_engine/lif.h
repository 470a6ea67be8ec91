// Leaky integrate-and-fire units over a whole sequence. In step t, for each unit,
//   arrivals = x_t + b + W z_{t-delay},
// its potential v, its current i and, of an alpha synapse, the rise g of the current go on by the
// exact solution of their equations (cells/lif.h), and z_t = 1 where v is above the threshold.
//
// All activations are in PyTorch's layout [steps, batch, units], contiguous.
#pragma once

#include <vector>

#include "sparse_engine/matrix.h"

namespace sparse_engine {

enum class Surrogate { kSuperSpike, kATan, kTriangle };

// What a unit computes. Each number is that of the equations in cells/lif.h.
struct LifUnit {
  double leak, of_current, of_rise, decay, rise, threshold, reset;
  double refractory;   // steps in which a unit rests after a spike
  double scale;        // of the surrogate gradient
  bool alpha;          // whether there is a rise
  bool keeps_current;  // whether currents go on through a spike
  Surrogate surrogate;

  // Whether a unit may rest or drop what arrives.
  bool rests() const { return refractory > 0 || !keeps_current; }
  // The numbers of a unit that gradients pass through: v, i and g.
  int states() const { return alpha ? 3 : 2; }
};

template <typename T>
struct LifForward {
  Csr w;                       // [units x units]
  Csr wt;                      // the transposed pattern
  const int32_t* permutation;  // [nnz], link p of wt is link permutation[p] of w
  const T* values;             // [nnz]
  const T* bias;               // [units], or null for zeros
  const T* x;                  // [steps, batch, units]
  const T* past;               // [delay, batch, units], z before, the oldest first; null for zeros
  const T* state;              // [states, batch, units], or null for zeros
  const T* rests;              // [batch, units], one more than the steps left, or null for zeros
  T* z;                        // [steps, batch, units], written: 0 and 1
  T* u;  // [steps, batch, units] or null (not wanted), written: v above threshold, or -infinity
         // where a unit rests
  T* state_n;     // [states, batch, units], written
  T* rests_n;     // [batch, units] or null (not wanted), written
  int64_t steps;  // >= 1
  int64_t batch;  // >= 1
  int64_t delay;  // >= 1
  LifUnit unit;
  int threads;  // at most this many; the result has the same bits for any number
};

template <class Isa, typename T>
void lif_forward(const LifForward<T>& args);

// Back-propagation through time. The gradient of a spike is that of the surrogate, and passes on to
// those units that it reached; what a spike sets to a constant has no gradient.
template <typename T>
struct LifBackward {
  Csr w, wt;
  const int32_t* permutation;
  const T* values;
  const T* z;         // [steps, batch, units], what lif_forward wrote
  const T* u;         // [steps, batch, units]
  const T* past;      // as in the forward pass
  const T* rests;     // as in the forward pass
  const T* dz;        // [steps, batch, units]
  const T* dstate_n;  // [states, batch, units], or null for zeros
  T* dx;              // [steps, batch, units] or null (not wanted), written
  T* dpast;           // [delay, batch, units] or null (not wanted), written
  T* dstate;          // [states, batch, units] or null (not wanted), written
  T* dbias;           // [units], written
  T* dvalues;         // [nnz] or null (not wanted), written
  int64_t steps, batch, delay;
  LifUnit unit;
  int threads;
};

template <class Isa, typename T>
void lif_backward(const LifBackward<T>& args);

// One sequence without gradients, of which only spikes are kept: from events, by events.
template <typename T>
struct LifSimulation {
  Csr wt;                      // column j of W: the units that unit j reaches
  const T* values;             // [nnz], in the order of wt
  const int64_t* first_event;  // [steps + 1], the first event of each step
  const int32_t* event_unit;   // in [0, units)
  const T* event_size;         // added to the potential at the beginning of the step
  const T* refractory;         // [units], steps in which each unit rests, or null: as unit says
  T* past;                     // [delay, units], read and written: z before, the oldest first
  T* state;                    // [states, units], read and written
  T* rests;                    // [units], read and written
  int64_t steps, delay;
  LifUnit unit;
  int threads;
  std::vector<int64_t>* first_spike;  // [steps + 1], written
  std::vector<int32_t>* spikes;       // the units that spike, in order, step after step
};

template <class Isa, typename T>
void lif_simulate(const LifSimulation<T>& args);

}  // namespace sparse_engine
