// The time loops of cells whose steps have several stages, each of which looks at the states that
// the one before has left.
//
// The stages of a step are a class of
//   of_step(): how many there are;
//   has_second_phase(): whether they take a second phase each;
//   stage(phase, t, m, before, keep): one of the two phases of stage m of step t, from the states
//     before it. Calls keep(unit, n, before, kept, after) for each column of a unit that it
//     completes, where `kept` is what the backward pass needs beside the states.
#pragma once

#include "runtime/phases.cuh"
#include "sequences/layer.cuh"

namespace sparse_engine::cuda {
namespace {

template <typename T, int V, class Stages>
struct ForwardStages {
  static constexpr int kBlocks = 2;

  Stages stages;
  Steps<T> h;        // [1 + steps][units], the first one is before the sequence
  Steps<T> between;  // [2][units], what the stages of a step leave for the next, in turn
  Resets resets;
  Steps<T> y;  // [steps][units], h before it is set back; h itself without resets

  __device__ bool needed(int64_t phase) const {
    return phase % 2 == 0 || stages.has_second_phase();
  }

  __device__ void operator()(int64_t phase) const {
    const int64_t count = stages.of_step(), t = phase / 2 / count, m = phase / 2 % count;
    const bool is_last = m + 1 == count;
    const Steps<T> after = is_last ? y.from(t) : between.from((m + 1) % 2);
    stages.stage(phase % 2, t, m, m == 0 ? h.from(t) : between.from(m % 2),
                 [&](int64_t unit, Column n, T, T, T next) {
                   after(0, unit, n) = next;
                   if (!is_last || !resets.exist()) return;
                   resets.set_back(t + 1, n, next);
                   h(t + 1, unit, n) = next;
                 });
  }
};

// Where the states and what is kept of the stages of one step are.
template <typename T>
struct StagesOfStep {
  Steps<T> states;  // [1 + stages][units], before each stage, and after the last
  Steps<T> kept;    // [stages][units]
};

// One step: its stages once more, and back through them. The backward pass is a class of
//   stages, own: the stages, and where what they leave is;
//   has_second_phase();
//   operator()(phase, t, m): one of the two phases of stage m, or with m = -1 of the way out of the
//     step, to the gradient of the states before it.
template <typename T, int V, class Back>
struct BackwardStages {
  static constexpr int kBlocks = 2;

  Back back;
  Steps<T> h;  // [1 + steps][units]
  int64_t t;

  int64_t phases() const { return 2 * (2 * back.stages.of_step() + 1); }

  __device__ bool needed(int64_t phase) const {
    if (phase % 2 == 0) return true;
    return phase / 2 < back.stages.of_step() ? back.stages.has_second_phase()
                                             : back.has_second_phase();
  }

  __device__ void operator()(int64_t phase) const {
    const int64_t count = back.stages.of_step(), m = phase / 2;
    if (m >= count) return back(phase % 2, t, 2 * count - 1 - m);
    const StagesOfStep<T>& own = back.own;
    back.stages.stage(phase % 2, t, m, m == 0 ? h.from(t) : own.states.from(m),
                      [&](int64_t unit, Column n, T before, T kept, T after) {
                        if (m == 0) own.states(0, unit, n) = before;
                        own.kept(m, unit, n) = kept;
                        own.states(m + 1, unit, n) = after;
                      });
  }
};

// [1][units], for sums over the stages.
template <typename T>
Steps<T> take_zeros(const Layer<T>& layer) {
  const Steps<T> zeros = layer.take(1, 1);
  layer.set_first(zeros, nullptr);
  return zeros;
}

// From the first of `states`, [1 + steps][units], which is set back.
template <typename T, int V, class Stages>
void run_forward(const Stages& stages, const Steps<T>& states, T* h, int64_t shared,
                 const Resets& resets, const Layer<T>& layer) {
  const Steps<T> y = resets.exist() ? layer.take(layer.steps, 1) : states.from(1);
  run(ForwardStages<T, V, Stages>{stages, states, layer.take(2, 1), resets, y},
      2 * layer.steps * stages.of_step(), shared, layer.stream);
  unpack(layer.all(y, h, 1, layer.steps), layer.stream);
}

// From `h`, [1 + steps][units], the states before each step, which are set back. Step by step, so
// that nothing of the stages of more than one is in memory: what their links add
// up to follows each step. Without `sums.sums`, it is not wanted.
template <typename T, int V, class Back, class Sums>
void run_backward(const Back& back, const Steps<T>& h, const Sums& sums, int64_t shared,
                  const Layer<T>& layer) {
  BackwardStages<T, V, Back> step{back, h, 0};
  for (step.t = layer.steps - 1; step.t >= 0; --step.t) {
    run(step, step.phases(), shared, layer.stream);
    if (sums.sums) sum_over_panels(sums, layer.shape, step.t + 1 < layer.steps, layer.stream);
  }
}

}  // namespace
}  // namespace sparse_engine::cuda
