// The time loop of a recurrent layer with quantized links, for a few sequences. The equations are
// those of csrc/cells; lanes are over the units of a slice.
#include "cells/gru.h"
#include "cells/lstm.h"
#include "cells/rnn.h"
#include "products/slice_product.h"
#include "runtime/activation.h"
#include "runtime/memory.h"
#include "runtime/team.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {
namespace {

// The Elman network as a cell of one gate.
template <Activation chosen>
struct OneGate {
  static constexpr int kGates = 1, kSaved = 1, kMemory = -1;

  template <class Math, class Number>
  SE_CELL Number forward(const Number (&v)[1], const Number (&u)[1], Number&, Number (&)[1]) const {
    return ElmanOf<AtCompileTime<chosen>>().template forward<Math>(v[0] + u[0]);
  }
};

template <class Cell, typename V>
void run(const QuantizedSequence<V>& a, const Cell& cell) {
  constexpr int G = Cell::kGates, K = kLanes<float>;
  constexpr bool kHasMemory = Cell::kMemory >= 0;
  const int64_t hidden = a.w.units(), padded = padded_columns(a.w), slices = a.w.slices_of_gate();
  Scratch scratch(2 * Scratch::bytes_of<float>(a.batch * padded));
  float* const states[2] = {scratch.take<float>(a.batch * padded),
                            scratch.take<float>(a.batch * padded)};
  std::fill(states[0], states[0] + a.batch * padded, 0.f);
  std::fill(states[1], states[1] + a.batch * padded, 0.f);
  // Whether an episode of sequence n begins at step t.
  const auto begins = [&](int64_t t, int64_t n) {
    return a.resets && t < a.steps && a.resets[t * a.batch + n];
  };
  for (int64_t n = 0; n < a.batch; ++n) {
    if (a.h0 && !begins(0, n)) std::copy_n(a.h0 + n * hidden, hidden, states[1] + n * padded);
    if (!kHasMemory) continue;
    if (a.c0 && !begins(0, n))
      std::copy_n(a.c0 + n * hidden, hidden, a.c_n + n * hidden);
    else
      std::fill_n(a.c_n + n * hidden, hidden, 0.f);
  }

  run_team(job_of(a.threads, work_of(a.w) * a.batch, a.steps), [&](const Team& team) {
    const int64_t last = team.last(slices);
    for (int64_t t = 0; t < a.steps; ++t) {
      const float* before = states[(t + 1) % 2];
      float* now = states[t % 2];
      for (int64_t slice = team.first(slices); slice < last; ++slice)
        for (int64_t n = 0; n < a.batch; ++n) {
          const int64_t first = slice * kSliceRows;
          const float* from_x = a.x + (t * a.batch + n) * G * hidden;
          alignas(64) float sums[G][kSliceRows] = {};
          if (t > 0 || a.h0)
            for (int g = 0; g < G; ++g)
              slice_product(a.w, g * slices + slice, before + n * padded, sums[g]);
          for (int i = 0; i < kSliceRows && first + i < hidden; i += K) {
            const int64_t unit = first + i, count = hidden - unit;
            Vec<float, K> v[G], u[G], saved[Cell::kSaved];
            for (int g = 0; g < G; ++g) {
              const int64_t row = g * hidden + unit;
              v[g] = load_first<float, K>(from_x + row, count);
              u[g] = load<float, K>(sums[g] + i) * load_first<float, K>(a.w.scales + row, count);
              if (a.bias) u[g] += load_first<float, K>(a.bias + row, count);
            }
            Vec<float, K> carried = kHasMemory
                                        ? load_first<float, K>(a.c_n + n * hidden + unit, count)
                                        : load<float, K>(before + n * padded + unit);
            auto h = cell.template forward<VectorMath<float, K>>(v, u, carried, saved);
            store_first<float, K>(a.h + (t * a.batch + n) * hidden + unit, h, count);
            if (begins(t + 1, n)) h = carried = Vec<float, K>{};
            store_first<float, K>(now + n * padded + unit, h, count);
            if (kHasMemory) store_first<float, K>(a.c_n + n * hidden + unit, carried, count);
          }
        }
      team.barrier();
    }
  });
}

}  // namespace

template <class Isa, typename V>
void quantized_sequence(const QuantizedSequence<V>& a) {
  switch (a.cell) {
    case QuantizedCell::kTanhRnn:
      return run(a, OneGate<Activation::kTanh>());
    case QuantizedCell::kReluRnn:
      return run(a, OneGate<Activation::kRelu>());
    case QuantizedCell::kLstm:
      return run(a, Lstm<float>{a.clip});
    case QuantizedCell::kGru:
      return run(a, Gru<float>());
  }
}

template void quantized_sequence<SPARSE_ENGINE_ISA>(const QuantizedSequence<int8_t>&);
template void quantized_sequence<SPARSE_ENGINE_ISA>(const QuantizedSequence<BFloat16>&);

}  // namespace sparse_engine
