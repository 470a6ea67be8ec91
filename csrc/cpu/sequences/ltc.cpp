#include "sparse_engine/ltc.h"

#include "sequences/membranes.h"
#include "sequences/sequence.h"
#include "sequences/synapse.h"
#include "sequences/unfold_gradient.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {
namespace {

// Reads h_{t-1} for these rows, zeros where episodes begin at step t.
template <class Args, typename T, int W>
void read_state_before(const Args& a, const Sequence<T, W>& seq, const Rows& rows, int64_t t,
                       const State<T, W>& state) {
  seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
    if (t > 0)
      read_initial(seq, a.h + (t - 1) * a.batch * a.w.rows, state, q, first, count);
    else
      read_initial(seq, a.h0, state, q, first, count);
    seq.set_back(t, q, count, state.row(q, first));
  });
}

template <typename T, typename A, int L, int NV>
void forward(const LtcForward<T, A>& a, int64_t panels) {
  constexpr int W = L * NV;
  const int64_t hidden = a.w.rows;
  const Sequence<T, W> seq{a.batch, panels, a.steps, nullptr, a.resets};
  Scratch scratch(Ring<T, W>::bytes(2, hidden, panels) +
                  Membranes<T, L, NV, A>::bytes(hidden, panels));
  const Ring<T, W> potentials(scratch, 2, hidden, panels);
  const Membranes<T, L, NV, A> membranes(a, seq, scratch);
  const Job job = job_of_steps(a.threads, kWorkPerSynapse * a.w.nnz(), hidden, a.batch, a.steps);

  run_team(job, [&](const Team& team) {
    const Rows rows = rows_of(a.w, team.rank, team.size, kBlock);
    read_state_before(a, seq, rows, 0, potentials.at(-1));
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      membranes.read(rows, t);
      for (int64_t k = t * a.unfolds; k < (t + 1) * a.unfolds; ++k) {
        membranes.unfold(rows, potentials.at(k - 1), potentials.at(k), nullptr);
        team.barrier();
      }
      const State<T, W> now = potentials.at((t + 1) * a.unfolds - 1);
      seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        write_tile<T, W>(now.row(q, first), seq.step(a.h, hidden, t, q), first, count, columns);
        if (a.h_n && t + 1 == a.steps)
          write_tile<T, W>(now.row(q, first), seq.step(a.h_n, hidden, 0, q), first, count, columns);
        seq.set_back(t + 1, q, count, now.row(q, first));
      });
      if (a.resets) team.barrier();
    }
  });
}

template <typename T, typename A, int L, int NV>
void backward(const LtcBackward<T, A>& a, int64_t panels) {
  const int64_t hidden = a.w.rows;
  const Sequence<T, L * NV> seq{a.batch, panels, a.steps, nullptr, a.resets};
  Scratch scratch(Membranes<T, L, NV, A>::bytes(hidden, panels) +
                  SynapseGradient<T, L, NV>::bytes(a.w.nnz()) +
                  UnfoldGradient<T, L, NV, A>::bytes(hidden, panels, a.unfolds));
  const Membranes<T, L, NV, A> membranes(a, seq, scratch);
  const SynapseGradient<T, L, NV> synapses(a.wt, a.permutation, a.synapses, scratch);
  const UnfoldGradient<T, L, NV, A> gradient(a, synapses, seq, scratch);
  const Job job = job_of_steps(a.threads, kWorkPerSynapse * a.w.nnz(), hidden, a.batch, a.steps);

  run_team(job, [&](const Team& team) {
    const Rows rows = rows_of(a.w, team.rank, team.size, kBlock);
    const Rows units = rows_of(a.wt, team.rank, team.size, kBlock);
    synapses.clear(units);
    gradient.begin(units);
    for (int64_t t = a.steps - 1; t >= 0; --t) {
      read_state_before(a, seq, rows, t, gradient.potentials.at(0));
      membranes.read(rows, t);
      team.barrier();
      for (int64_t u = 0; u < a.unfolds; ++u) {
        const State<T, L * NV> inverse = gradient.inverse.at(u);
        membranes.unfold(rows, gradient.potentials.at(u), gradient.potentials.at(u + 1), &inverse);
        team.barrier();
      }
      gradient.enter(units, t);
      team.barrier();
      for (int64_t u = a.unfolds - 1; u >= 0; --u) {
        gradient.unfold(units, u);
        team.barrier();
      }
      gradient.leave(units, t);
    }
    synapses.finish(units, a.gradients);
    gradient.finish(units);
  });
}

}  // namespace

template <class Isa, typename T, typename A>
void ltc_forward(const LtcForward<T, A>& a) {
  with_panels<T, T>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    forward<T, A, decltype(lanes)::value, decltype(vectors)::value>(a, panels);
  });
}

template <class Isa, typename T, typename A>
void ltc_backward(const LtcBackward<T, A>& a) {
  with_panels<T, T>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    backward<T, A, decltype(lanes)::value, decltype(vectors)::value>(a, panels);
  });
}

template void ltc_forward<SPARSE_ENGINE_ISA>(
    const LtcForward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);
template void ltc_backward<SPARSE_ENGINE_ISA>(
    const LtcBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
