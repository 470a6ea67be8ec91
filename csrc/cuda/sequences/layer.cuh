// A layer of units over a sequence: how its arrays become panels and come back, and the products of
// whole sequences.
#pragma once

#include "products/link_sums.cuh"
#include "products/product.cuh"
#include "sequences/sequence.cuh"
#include "sparse_engine/gated.h"

namespace sparse_engine::cuda {
namespace {

// What the programs of both directions know of time.
struct Time {
  Running running;
  int64_t panels;
  int width;

  __device__ int64_t columns(int64_t step) const { return running.columns(step, panels * width); }
  // Panels in which something is running.
  __device__ int panels_at(int64_t step) const {
    return (static_cast<int>(columns(step)) + width - 1) / width;
  }
  __device__ bool running_at(int64_t step, Column n) const {
    return n.panel * width + n.at < columns(step);
  }
};

// sums[r] = the sum of row r over columns and steps, or of its products with row r of `factor`.
template <typename A>
__global__ void __launch_bounds__(kThreads)
    sum_rows(const Steps<A> steps, const Steps<A> factor, int64_t length, int64_t rows,
             const Running running, Computed<A>* sums) {
  const int lane = threadIdx.x % kWarp, column = lane % steps.width;
  for (int64_t row = thread_in_grid() / kWarp; row < rows; row += threads_of_grid() / kWarp) {
    Computed<A> sum = 0;
    for (int64_t k = lane / steps.width; k < length * steps.panels; k += kWarp / steps.width) {
      const int64_t t = k / steps.panels;
      const Column n{static_cast<int>(k % steps.panels), column};
      if (n.panel * steps.width < running.columns(t, steps.panels * steps.width))
        sum += computed(steps(t, row, n)) * (factor.data ? computed(factor(t, row, n)) : 1);
    }
    for (int distance = kWarp / 2; distance > 0; distance /= 2)
      sum += __shfl_xor_sync(~0u, sum, distance);
    if (lane == 0) sums[row] = sum;
  }
}

// Of a sequence, in panels that are kept as A.
template <typename A>
struct Layer {
  using T = Computed<A>;

  const Stream& stream;
  const Shape shape;
  const int64_t steps, hidden;
  const Packing packing = {};

  // The same with another number of units.
  Layer with_units(int64_t units) const { return {stream, shape, steps, units, packing}; }

  Steps<A> take(int64_t length, int64_t rows) const {
    return take_steps<A>(stream, length, rows * hidden, shape);
  }

  // Between rows of units and the features of a user's array, [length, batch, all * hidden], that
  // start with row `from`.
  Transfer<A> rows(const Steps<A>& panels, int64_t row, const A* array, int64_t all, int64_t from,
                   int64_t count, int64_t length) const {
    Transfer<A> copy = transfer(array, all * hidden, from * hidden, panels, row * hidden,
                                count * hidden, length, shape.columns);
    copy.running = packing.running;
    return copy;
  }
  Transfer<A> all(const Steps<A>& panels, const A* array, int64_t rows_of_unit,
                  int64_t length) const {
    return rows(panels, 0, array, rows_of_unit, 0, rows_of_unit, length);
  }

  // Between rows of units and those that every step keeps for the backward pass, `count` of `all`
  // from row `from` on, features x batch.
  Transfer<A> kept(const Steps<A>& panels, const A* array, int64_t all, int64_t from,
                   int64_t count) const {
    Transfer<A> copy = rows(panels, 0, array, count, 0, count, steps);
    copy.of_step = all * hidden, copy.first = from * hidden;
    return copy;
  }

  // [1 + steps][units]: the first one from `initial`, or zeros.
  Steps<A> take_states(const A* initial) const {
    const Steps<A> states = take(1 + steps, 1);
    set_first(states, initial);
    return states;
  }
  void set_first(const Steps<A>& states, const A* initial) const {
    if (initial)
      pack(all(states, initial, 1, 1), stream);
    else
      fill_zeros(states.data, states.step_stride(), stream);
  }
  // The same with all steps of `array`.
  Steps<A> read_states(const A* initial, const A* array) const {
    const Steps<A> states = take_states(initial);
    pack(all(states.from(1), array, 1, steps), stream);
    return states;
  }

  Resets resets(const bool* begins) const { return {begins, steps, shape.columns, shape.width}; }

  Time time() const { return {packing.running, shape.panels, shape.width}; }

  // The product with a weight whose rows belong to so many units.
  Product<A> multiply(const Csr& w, const T* values, int64_t units) const {
    return product_on<A>(w, values, units, shape, stream);
  }
  // That with a projection, or with its transpose, or none.
  Product<A> project(const Projection<T>& p) const {
    return p.w.ptr ? multiply(p.w, p.values, p.w.rows) : Product<A>{};
  }
  Product<A> project_back(const Projection<T>& p) const {
    if (p.w.ptr == nullptr) return {};
    return multiply(p.wt, in_order(p.values, p.permutation, p.w.nnz(), stream), p.wt.rows);
  }

  // sums [rows] = the sums of these rows, times those of `factor`, over columns and steps.
  void sum_columns(const Steps<A>& panels, int64_t length, int64_t rows, T* sums,
                   const Steps<A>& factor = {}) const {
    launch(sum_rows<A>, rows * kWarp, stream, panels, factor, length, rows, packing.running, sums);
  }

  // gradient = sum_t a_t b_t^T at the links of w, from step `first` on.
  void multiply_links(const Csr& w, const Steps<A>& a, const Steps<A>& b, int64_t first,
                      T* gradient) const {
    const Panelled panels{(steps - first) * shape.panels, shape.panels, first, shape.width,
                          packing.running};
    const Dots<A> terms{a.at(first), b.at(first)};
    const LinkSums<A> sums = link_sums_of<A>(w, shape, terms, panels, gradient, stream);
    sum_over_panels(sums, shape, false, stream, [&](int64_t k) {
      return packing.runs(first + k / shape.panels, k % shape.panels, shape.width);
    });
  }
};

// That of a pass's arguments, a Gated or Rnn structure.
template <typename A, class Pass>
Layer<A> layer_of(const Pass& a, int64_t hidden, const Stream& stream) {
  return {stream, shape_of<A>(a.batch), a.steps, hidden, packing_of(a.first_row, a.steps, stream)};
}

}  // namespace
}  // namespace sparse_engine::cuda
