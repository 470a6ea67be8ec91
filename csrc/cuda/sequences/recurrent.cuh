// The time loop of all recurrent cells: a program of two phases per step, the product with the
// cell where a unit's sums are complete, and the same for units with long rows. A projection takes
// two more: a product behind the cell, and in the backward pass between the weight's and the cell.
//
// A cell of csrc/cells becomes an object of OnRows, of a class of
//   kGates, kRows: the rows of W, and the rows of the `gates` panels, that a unit has;
//   kSaves, kHasMemory, kCarries: whether a step leaves something in these rows for the backward
//     pass, carries a c beside h, and passes a gradient back other than by the weight;
//   forward(rows, u, carried): from the input's contribution, in the first rows, and the recurrent
//     one, returns h. Leaves in `rows` what the backward pass needs; takes c over to the next step
//     in `carried` (without a c, it holds the h before);
//   backward(rows, dh, before, now, carried): from what was saved and the gradient of h to those of
//     u, in the first rows. `before` and `now` are c (without one, h) before and after the step;
//     `carried` is what reaches the gradient of c, or of h, other than by the weight;
//   output(row, now): with a c, the h that forward returned, from the last row and c;
//   input_row(gate): where it leaves the gradient of the input's contribution.
// What a unit saves is these rows, and c where there is one. Only cells with a c may be projected.
#pragma once

#include "cells/gated.h"
#include "runtime/activation.cuh"
#include "runtime/phases.cuh"
#include "sequences/layer.cuh"

namespace sparse_engine::cuda {
namespace {

// A cell with gates, as cells/gated.h describes one. Its rows hold what it saves but for c, and
// then the gradients of u, behind which are those of v for the gates that are not shared.
template <class Cell>
struct OnRows {
  static constexpr bool kSaves = true, kHasMemory = Cell::kMemory >= 0, kCarries = true;
  static constexpr int kGates = Cell::kGates, kRows = Cell::kSaved - (kHasMemory ? 1 : 0);

  Cell cell;

  template <typename T>
  __device__ T forward(T (&rows)[kRows], const T (&u)[kGates], T& carried) const {
    T v[kGates], saved[Cell::kSaved];
#pragma unroll
    for (int g = 0; g < kGates; ++g) v[g] = rows[g];
    const T h = cell.template forward<ScalarMath<T>>(v, u, carried, saved);
#pragma unroll
    for (int r = 0; r < kRows; ++r) rows[r] = saved[r];
    return h;
  }

  template <typename T>
  __device__ void backward(T (&rows)[kRows], T dh, T before, T now, T& carried) const {
    T saved[Cell::kSaved], du[kGates], dv[kGates];
#pragma unroll
    for (int r = 0; r < kRows; ++r) saved[r] = rows[r];
    if (kHasMemory) saved[Cell::kSaved - 1] = now;
    cell.template backward<ScalarMath<T>>(saved, dh, before, carried, du, dv);
#pragma unroll
    for (int g = 0; g < kGates; ++g) rows[g] = du[g];
#pragma unroll
    for (int g = Cell::kShared; g < kGates; ++g) rows[input_row(g)] = dv[g];
  }

  template <typename T>
  __device__ T output(T o, T now) const {
    return cell.template output<ScalarMath<T>>(o, now);
  }

  __host__ __device__ static constexpr int input_row(int gate) {
    return gate < Cell::kShared ? gate : kGates + gate - Cell::kShared;
  }
};

// Activations are kept as A.
template <typename A, int V, class Cell, bool kProjects>
struct ForwardSteps {
  using T = Computed<A>;
  static constexpr int kPhases = kProjects ? 4 : 2;  // of a step
  static constexpr int G = Cell::kGates, R = Cell::kRows, kBlocks = R == 1 && V < 8 ? 3 : 2;

  Cell cell;
  Time time;
  Product<A> product, projection;
  const T* bias;
  Steps<A> gates;        // [steps][R * units]
  Steps<A> h, c;         // [1 + steps][units], the first one is before the sequence
  Steps<A> unprojected;  // [1][units], where there is a projection
  bool has_initial;
  Resets resets;
  Steps<A> y;  // [steps][units], h before it is set back; h itself without resets

  __device__ bool needed(int64_t phase) const {
    const int64_t part = phase % kPhases;
    return part % 2 == 0 || (part == 1 ? product : projection).has_second_phase();
  }

  __device__ void operator()(int64_t phase) const {
    const int64_t t = phase / kPhases, part = phase % kPhases, units = product.units;
    const int panels = time.panels_at(t);
    // Of an output, zeros where an episode begins are handed on.
    const auto hand_on = [&](int64_t unit, Column n, T next) {
      y(t, unit, n) = kept_as<A>(next);
      if (!resets.exist()) return;
      resets.set_back(t + 1, n, next);
      h(t + 1, unit, n) = kept_as<A>(next);
    };
    const auto step = [&](int64_t unit, Column n, T(&u)[G]) {
      T rows[R] = {}, carried = computed((Cell::kHasMemory ? c : h)(t, unit, n));
#pragma unroll
      for (int g = 0; g < G; ++g) {
        rows[g] = computed(gates(t, g * units + unit, n));
        if (bias) u[g] += bias[g * units + unit];
      }
      if (Cell::kHasMemory) resets.set_back(t, n, carried);
      const T next = cell.forward(rows, u, carried);
      if (kProjects)
        unprojected(0, unit, n) = kept_as<A>(next);
      else
        hand_on(unit, n, next);
      if (Cell::kHasMemory) c(t + 1, unit, n) = kept_as<A>(carried);
      if constexpr (Cell::kSaves)
#pragma unroll
        for (int r = 0; r < R; ++r) gates(t, r * units + unit, n) = kept_as<A>(rows[r]);
    };
    if constexpr (kProjects)
      if (part >= 2)
        return projection.template phase<V, 1>(
            part - 2, unprojected.at(0), Extent{panels, panels},
            [&](int64_t unit, Column n, T(&sum)[1]) { hand_on(unit, n, sum[0]); });
    product.template phase<V, G>(part, h.at(t), Extent{panels, t > 0 || has_initial ? panels : 0},
                                 step);
  }
};

template <typename A, int V, class Cell, bool kProjects>
struct BackwardSteps {
  using T = Computed<A>;
  static constexpr int kPhases = kProjects ? 4 : 2;  // of a step
  static constexpr int G = Cell::kGates, R = Cell::kRows, kBlocks = R == 1 && V < 8 ? 3 : 2;

  Cell cell;
  Time time;
  Product<A> product, projection;  // with the transposed weights
  Steps<A> gates;                  // [steps][R * units], what was saved becomes du
  Steps<A> dh;                     // [steps][outputs]; with a projection it becomes all of dh
  Steps<A> state;                  // [1 + steps][units]: c, or h where there is none
  Steps<A> carried;                // [1][units]
  Steps<A> unprojected;            // [steps][units], written where there is a projection
  Steps<A> dh0;                    // [1][outputs], written by the phases after the first step's
  int64_t steps;
  Resets resets;

  __device__ bool needed(int64_t phase) const {
    const int64_t part = phase % kPhases;
    return part % 2 == 0 || (part == 1 ? product : projection).has_second_phase();
  }

  __device__ void operator()(int64_t phase) const {
    const int64_t t = steps - 1 - phase / kPhases, part = phase % kPhases;
    const int64_t units = gates.features / R;
    // Before the sequence, all panels of the first step.
    const int panels = time.panels_at(t < 0 ? 0 : t);
    // `dm` is the gradient of the unit's output. Of columns that have ended, all that was saved and
    // comes from outside is zero; what they carry is the gradient of their last c.
    const auto step = [&](int64_t unit, Column n, T dm) {
      T rows[R] = {}, carry = 0, before = computed(state(t, unit, n));
      const T now = computed(state(t + 1, unit, n));
      resets.set_back(t, n, before);
      if (Cell::kCarries) carry = computed(carried(0, unit, n));
      if constexpr (Cell::kSaves)
#pragma unroll
        for (int r = 0; r < R; ++r) rows[r] = computed(gates(t, r * units + unit, n));
      if constexpr (kProjects) unprojected(t, unit, n) = kept_as<A>(cell.output(rows[R - 1], now));
      if (!Cell::kHasMemory || time.running_at(t, n)) cell.backward(rows, dm, before, now, carry);
      resets.set_back(t, n, carry);
      if (Cell::kCarries) carried(0, unit, n) = kept_as<A>(carry);
#pragma unroll
      for (int r = 0; r < R; ++r) gates(t, r * units + unit, n) = kept_as<A>(rows[r]);
    };
    if constexpr (kProjects)
      if (part >= 2)
        return projection.template phase<V, 1>(
            part - 2, dh.at(t), Extent{panels, panels},
            [&](int64_t unit, Column n, T(&sum)[1]) { step(unit, n, sum[0]); });
    const auto finish = [&](int64_t unit, Column n, T(&sum)[1]) {
      resets.set_back(t + 1, n, sum[0]);
      if (t < 0) {
        if (Cell::kCarries && !Cell::kHasMemory) sum[0] += computed(carried(0, unit, n));
        dh0(0, unit, n) = kept_as<A>(sum[0]);
        return;
      }
      A& outside = dh(t, unit, n);
      sum[0] += computed(outside);
      if constexpr (kProjects)
        outside = kept_as<A>(sum[0]);
      else
        step(unit, n, sum[0]);
    };
    const Extent extent{panels, t + 1 < steps ? time.panels_at(t + 1) : 0};
    product.template phase<V, 1>(part, gates.at(t + 1), extent, finish);
  }
};

// body(projects), known at compile time.
template <class Cell, class Body>
void with_projection(bool projects, const Body& body) {
  if constexpr (Cell::kHasMemory)
    if (projects) return body(std::true_type());
  body(std::false_type());
}

// The forward pass, once the input's contribution is in `gates` and the initial states are set.
// Takes the weights from `a`. What each step returns goes to `y`, [steps][outputs], which is h from
// the first step on unless there are resets.
template <class Cell, typename T, typename A>
void run_forward(const GatedForward<T>& a, const Cell& cell, const Layer<A>& layer,
                 const Steps<A>& gates, const Steps<A>& h, const Steps<A>& c, const Steps<A>& y,
                 bool has_initial) {
  const Resets resets = layer.resets(a.resets);
  set_back(h, resets, 1, layer.stream);
  const bool projected = a.projection.w.ptr != nullptr;
  const Product<A> product = layer.multiply(a.w, a.values, layer.hidden);
  const Product<A> projection = layer.project(a.projection);
  const Steps<A> unprojected = projected ? layer.take(1, 1) : Steps<A>{};
  with_vector<A>(layer.shape, [&](auto vector) {
    with_projection<Cell>(projected, [&](auto projects) {
      const ForwardSteps<A, vector, Cell, projects> program{
          cell, layer.time(), product,     projection, a.bias, gates, h,
          c,    unprojected,  has_initial, resets,     y};
      run(program, program.kPhases * layer.steps, std::max(product.shared(), projection.shared()),
          layer.stream);
    });
  });
}

// The arrays that a layer exchanges with its surroundings in the backward pass.
template <typename A>
struct Outside {
  const A *h0, *dh;
  A* dh0;
};

// The backward pass; `gates` hold what the forward pass saved and then the gradients, `state` is c
// or h. Takes the weights from `a` and writes all gradients but those of the input.
template <class Cell, typename T, typename A>
void run_backward(const GatedBackward<T>& a, const Cell& cell, const Layer<A>& layer,
                  const Steps<A>& gates, const Steps<A>& state, const Steps<A>& h,
                  const Outside<A>& outside) {
  const Stream& stream = layer.stream;
  const int64_t steps = layer.steps;
  const Resets resets = layer.resets(a.resets);
  const Layer<A> outputs = layer.with_units(a.w.cols);
  const bool projected = a.projection.w.ptr != nullptr;
  const Steps<A> dh = outputs.take(steps, 1), dh0 = outputs.take(1, 1), carried = layer.take(1, 1);
  const Steps<A> unprojected = projected ? layer.take(steps, 1) : Steps<A>{};
  pack(outputs.all(dh, outside.dh, 1, steps), stream);
  if constexpr (Cell::kHasMemory)
    layer.set_first(carried, a.dc_n);
  else
    layer.set_first(carried, nullptr);
  const T* values = in_order(a.values, a.permutation, a.w.nnz(), stream);
  const Product<A> product = layer.multiply(a.wt, values, a.wt.rows);
  const Product<A> projection = layer.project_back(a.projection);
  with_vector<A>(layer.shape, [&](auto vector) {
    with_projection<Cell>(projected, [&](auto projects) {
      const BackwardSteps<A, vector, Cell, projects> program{
          cell,  layer.time(), product,     projection, gates, dh,
          state, carried,      unprojected, dh0,        steps, resets};
      run(program, program.kPhases * steps + (outside.dh0 ? 2 : 0),
          std::max(product.shared(), projection.shared()), stream);
    });
  });
  if (outside.dh0) unpack(outputs.all(dh0, outside.dh0, 1, 1), stream);
  if constexpr (Cell::kHasMemory)
    if (a.dc0) unpack(layer.all(carried, a.dc0, 1, 1), stream);
  layer.sum_columns(gates, steps, a.w.rows, a.dbias);
  set_back(h, resets, steps, stream);
  if (a.dvalues) layer.multiply_links(a.w, gates, h, outside.h0 ? 0 : 1, a.dvalues);
  if (a.dprojection) layer.multiply_links(a.projection.w, dh, unprojected, 0, a.dprojection);
}

// What a unit saves, [steps, hidden, saved, batch]: its rows, and c. move(transfer) for each.
template <class Cell, typename T, class Move>
void for_each_saved(const Layer<T>& layer, const T* saved, const Steps<T>& gates, const Steps<T>& c,
                    const Move& move) {
  constexpr int kAll = Cell::kRows + (Cell::kHasMemory ? 1 : 0);
  for (int block = 0; block < kAll; ++block) {
    const bool of_gates = block < Cell::kRows;
    Transfer<T> one = layer.rows(of_gates ? gates : c.from(1), of_gates ? block : 0, saved, kAll, 0,
                                 1, layer.steps);
    one.of_step = kAll * layer.hidden, one.first = block, one.apart = kAll;
    move(one);
  }
}

template <class Cell, typename T>
void gated_forward(const GatedForward<T>& a, const Cell& cell, const Stream& stream) {
  const Layer<T> layer = layer_of<T>(a, a.w.rows / Cell::kGates, stream);
  const Layer<T> outputs = layer.with_units(a.w.cols);
  const Steps<T> gates = layer.take(a.steps, Cell::kRows), h = outputs.take_states(a.h0);
  const Steps<T> c = Cell::kHasMemory ? layer.take_states(a.c0) : Steps<T>{};
  pack(layer.rows(gates, 0, a.x, Cell::kGates, 0, Cell::kGates, a.steps), stream);
  const Steps<T> y = a.resets ? outputs.take(a.steps, 1) : h.from(1);
  run_forward(a, cell, layer, gates, h, c, y, a.h0 != nullptr);
  unpack(outputs.all(y, a.h, 1, a.steps), stream);
  if (Cell::kHasMemory)
    run_each(TakeLast<T>{c.from(1), layer.packing.running, a.steps, a.batch, a.c_n},
             a.batch * layer.hidden, stream);
  if (a.saved)
    for_each_saved<Cell>(layer, a.saved, gates, c, [&](auto& one) { unpack(one, stream); });
}

template <class Cell, typename T>
void gated_backward(const GatedBackward<T>& a, const Cell& cell, const Stream& stream) {
  const Layer<T> layer = layer_of<T>(a, a.w.rows / Cell::kGates, stream);
  const Steps<T> gates = layer.take(a.steps, Cell::kRows);
  const Steps<T> h = layer.with_units(a.w.cols).read_states(a.h0, a.h);
  const Steps<T> state = Cell::kHasMemory ? layer.take_states(a.c0) : h;
  for_each_saved<Cell>(layer, a.saved, gates, state, [&](auto& one) { pack(one, stream); });
  run_backward(a, cell, layer, gates, state, h, {a.h0, a.dh, a.dh0});
  for (int g = 0; g < Cell::kGates; ++g) {
    const Steps<T> dv = gates.from_row(Cell::input_row(g) * layer.hidden);
    if (a.dv) unpack(layer.rows(dv, 0, a.dv, Cell::kGates, g, 1, a.steps), stream);
  }
}

}  // namespace
}  // namespace sparse_engine::cuda
