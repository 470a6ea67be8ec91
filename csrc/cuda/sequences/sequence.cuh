// Sequences of different lengths. They come packed, as in rnn.h; panels have room for all of them
// at every step, but those in which nothing is running any more are neither read nor written, and
// the columns beside those that run are zeros.
#pragma once

#include "runtime/each.cuh"
#include "runtime/panel.cuh"

namespace sparse_engine::cuda {
namespace {

// Numbers that a launch takes along: the host does not wait for a copy, and a captured graph keeps
// them.
struct Few {
  static constexpr int64_t kMost = 128;

  int64_t at[kMost];
  int64_t* to;
  __device__ void operator()(int64_t i) const { to[i] = at[i]; }
};

// A copy, on the device, of n numbers of the host.
inline const int64_t* on_device(const int64_t* from, int64_t n, const Stream& stream) {
  int64_t* to = take<int64_t>(stream, n);
  for (int64_t first = 0; first < n; first += Few::kMost) {
    const int64_t count = std::min(Few::kMost, n - first);
    Few few = {{}, to + first};
    std::copy(from + first, from + first + count, few.at);
    run_each(few, count, stream);
  }
  return to;
}

// The rows of a layer's arrays; all null where no sequence ends before the last step.
struct Packing {
  const int64_t* first_row = nullptr;  // [steps + 1], on the host
  Running running = {};                // the same on the device

  // Whether something in panel q of step t is running.
  bool runs(int64_t t, int64_t q, int width) const {
    return first_row == nullptr || q * width < first_row[t + 1] - first_row[t];
  }
};

inline Packing packing_of(const int64_t* first_row, int64_t steps, const Stream& stream) {
  if (first_row == nullptr) return {};
  return {first_row, {on_device(first_row, steps + 1, stream)}};
}

// The state of every sequence after its last step, as [batch, features].
template <typename T>
struct TakeLast {
  Steps<T> states;  // after every step
  Running running;
  int64_t steps, batch;
  T* to;
  __device__ void operator()(int64_t i) const {
    const int64_t n = i / states.features, feature = i % states.features;
    const int64_t end =
        first_where(0, steps, [&](int64_t t) { return running.columns(t, batch) <= n; });
    const int panel = static_cast<int>(n / states.width),
              column = static_cast<int>(n % states.width);
    to[i] = states(end - 1, feature, {panel, column});
  }
};

// Where episodes begin, and the state before a step is zeros.
struct Resets {
  const bool* begins = nullptr;  // [steps, batch], on the device, or null: nowhere
  int64_t steps = 0, batch = 0;
  int width = 1;  // of a panel

  __host__ __device__ bool exist() const { return begins != nullptr; }
  // Sets a number of a column to zero if an episode begins there at step t.
  template <typename T>
  __device__ void set_back(int64_t t, Column n, T& number) const {
    if (!exist() || t < 0 || t >= steps) return;
    const int64_t column = int64_t{n.panel} * width + n.at;
    if (column < batch && begins[t * batch + column]) number = T{};
  }
};

// The same for the states before each step.
template <typename A>
struct SetBack {
  Steps<A> states;
  Resets resets;
  __device__ void operator()(int64_t i) const {
    const int64_t t = i / states.step_stride(), panel = i / (states.features * states.width);
    resets.set_back(t,
                    {static_cast<int>(panel % states.panels), static_cast<int>(i % states.width)},
                    states.data[i]);
  }
};

// Sets back the states before the first `count` steps.
template <typename A>
void set_back(const Steps<A>& states, const Resets& resets, int64_t count, const Stream& stream) {
  if (resets.exist()) run_each(SetBack<A>{states, resets}, count * states.step_stride(), stream);
}

}  // namespace
}  // namespace sparse_engine::cuda
