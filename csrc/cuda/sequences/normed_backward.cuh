// The time loop of the cells with layer normalisation, backward: the steps of normed_forward.cuh in
// reverse. The phases of a step are the gradients of all h and of what made them, those of units
// with long rows, and the way through the normalisation in two; with a c, through its own in two
// before that. The phases behind the first step lead to the state before it.
#pragma once

#include "sequences/normed_forward.cuh"

namespace sparse_engine::cuda {
namespace {

template <typename T, int V, class Cell>
struct BackwardNormed {
  static constexpr int G = Cell::kGates, kPhases = Cell::kHasMemory ? 6 : 4, kBlocks = 2;

  Cell cell;
  Time time;
  Product<T> product;  // with W^T
  Norm<T> norm, c_norm;
  FeatureSums<T> sums, c_sums;
  Steps<T> n, dz, du;  // [steps][G * units]; with a c, du is in the place of x
  Steps<T> h, c;       // [1 + steps][units], the first one is before the sequence
  Steps<T> c_n, dy;    // [steps][units], c as it was normalised, and the gradient of the result
  Steps<T> moments;    // [steps][kMoments]
  Steps<T> dh;         // [steps][units]
  Steps<T> carried;    // [1][units], the gradient of c
  Steps<T> dh0;        // [1][units]
  int64_t steps;

  __device__ bool needed(int64_t phase) const {
    return phase % kPhases != 1 || product.has_second_phase();
  }

  __device__ void operator()(int64_t phase) const {
    const int t = static_cast<int>(steps - 1 - phase / kPhases), own_step = t < 0 ? 0 : t;
    const int part = static_cast<int>(phase % kPhases), panels = time.panels_at(own_step);
    if (part < 2)
      product.template phase<V, 1>(part, du.at(t + 1),
                                   Extent{panels, t + 1 < steps ? time.panels_at(t + 1) : 0},
                                   [&](int64_t unit, Column at, T(&sum)[1]) {
                                     if (t < 0)
                                       dh0(0, unit, at) = sum[0];
                                     else
                                       outputs(t, unit, at, sum[0]);
                                   });
    else if (part == kPhases - 2)
      sums.template sum<V>(panels, norm, dz.at(t), n.at(t));
    else if (part == 2)
      c_sums.template sum<V>(panels, c_norm, dy.at(t), c_n.at(t));
    else
      for (int panel = 0; panel < panels; ++panel)
        if (part == kPhases - 1)
          products(t, panel);
        else
          cells(t, panel);
  }

 private:
  __device__ T moment(int t, int64_t panel, int row, int column) const {
    return moments.at(t).row(panel, row)[column];
  }

  // A gate's z, as in the forward pass.
  __device__ T z_of(int t, int gate, int64_t unit, const Spot<G>& spot) const {
    const int64_t row = gate * h.features + unit;
    return *spot.of_gate(du, t, gate) + scaled(norm, row, *spot.of_gate(n, t, gate));
  }

  // From what W^T sends back to a unit's h, to the gradient of z, or of the output gate's and of
  // the normalised c. In columns that have ended, all that comes from outside is zero.
  __device__ void outputs(int t, int64_t unit, Column at, T of_h) const {
    const Spot<G> spot(time, h.features, unit, at.panel, at.at);
    const T dm = of_h + *spot.of(dh, t);
    if constexpr (Cell::kHasMemory) {
      const T y =
          (*spot.of(c, t + 1) - moment(t, at.panel, 1, at.at)) * moment(t, at.panel, 2, at.at);
      *spot.of(c_n, t) = y;
      *spot.of(dy, t) = cell.template output_backward<ScalarMath<T>>(
          z_of(t, Cell::kOutputGate, unit, spot), scaled(c_norm, unit, y), dm,
          *spot.of_gate(dz, t, Cell::kOutputGate));
    } else {
      *spot.of(dz, t) = cell.template backward<ScalarMath<T>>(*spot.of(h, t + 1), dm);
    }
  }

  // From the gradient of the normalised c to those of the other gates' z and of the c before. Of
  // columns that have ended, what is carried is the gradient of their last c, which waits.
  __device__ void cells(int t, int panel) const {
    if constexpr (Cell::kHasMemory) {
      const Moments<T> means = c_sums.means(panel);
      const int column = c_sums.column();
      const bool running = panel * time.width + column < time.columns(t);
      c_sums.each_unit(h.features, [&](int64_t unit) {
        const Spot<G> spot(time, h.features, unit, panel, column);
        T z[G] = {}, of_z[G] = {};
#pragma unroll
        for (int g = 0; g < G; ++g)
          if (g != Cell::kOutputGate) z[g] = z_of(t, g, unit, spot);
        T* const carry = spot.of(carried, 0);
        const T of_c = *carry + normalised_back(c_norm, unit, *spot.of(dy, t), *spot.of(c_n, t),
                                                moment(t, panel, 2, column), means);
        if (running)
          *carry = cell.template backward<ScalarMath<T>>(z, *spot.of(c, t + 1), *spot.of(c, t),
                                                         of_c, of_z);
#pragma unroll
        for (int g = 0; g < G; ++g)
          if (g != Cell::kOutputGate) *spot.of_gate(dz, t, g) = of_z[g];
      });
    }
  }

  // From the gradients of z to those of W h.
  __device__ void products(int t, int panel) const {
    const Moments<T> means = sums.means(panel);
    const int column = sums.column();
    const T scale = moment(t, panel, 0, column);
    sums.each_unit(n.features, [&](int64_t row) {
      const Spot<1> spot(time, n.features, row, panel, column);
      *spot.of(du, t) = normalised_back(norm, row, *spot.of(dz, t), *spot.of(n, t), scale, means);
    });
  }
};

template <class Cell, typename T>
void normed_backward(const NormedBackward<T>& a, const Cell& cell, const Stream& stream) {
  constexpr int G = Cell::kGates, S = kNormedSaved<Cell>, M = kMoments<Cell>;
  constexpr bool kHasMemory = Cell::kHasMemory;
  const Layer<T> layer = layer_of<T>(a, a.w.cols, stream), columns = layer.with_units(1);
  const auto take = [&](int64_t steps, int64_t rows) {
    return rows == 0 ? Steps<T>{} : layer.take(steps, rows);
  };
  const Steps<T> n = take(a.steps, G), dz = take(a.steps, G), du = take(a.steps, G);
  const Steps<T> h = layer.read_states(a.h0, a.h);
  const Steps<T> c = kHasMemory ? layer.take_states(a.c0) : Steps<T>{};
  const Steps<T> c_n = take(a.steps, kHasMemory), dy = take(a.steps, kHasMemory);
  const Steps<T> moments = columns.take(a.steps, M), dh = take(a.steps, 1);
  const Steps<T> carried = take(1, kHasMemory), dh0 = take(1, 1);
  pack(layer.kept(n, a.saved, S, 0, G), stream);
  pack(columns.kept(moments, a.moments, M, 0, M), stream);
  pack(layer.all(dh, a.dh, 1, a.steps), stream);
  if (kHasMemory) {
    pack(layer.all(du, a.x, G, a.steps), stream);
    pack(layer.kept(c.from(1), a.saved, S, G, 1), stream);
    layer.set_first(carried, a.dc_n);
  }
  const T* values = in_order(a.values, a.permutation, a.w.nnz(), stream);
  const Product<T> product = layer.multiply(a.wt, values, layer.hidden);
  with_vector<T>(layer.shape, [&](auto vector) {
    const auto sums = [&](int rows) {
      return feature_sums_of<T>(rows * layer.hidden, layer.shape, stream);
    };
    const BackwardNormed<T, vector, Cell> program{
        cell, layer.time(), product, a.norm,  a.c_norm, sums(G), sums(1), n,      dz, du, h,
        c,    c_n,          dy,      moments, dh,       carried, dh0,     a.steps};
    run(program, program.kPhases * a.steps + (a.dh0 ? 2 : 0), product.shared(), stream);
  });
  if (a.dx) unpack(layer.all(dz, a.dx, G, a.steps), stream);
  if (a.dh0) unpack(layer.all(dh0, a.dh0, 1, 1), stream);
  if (a.dc0) unpack(layer.all(carried, a.dc0, 1, 1), stream);
  layer.sum_columns(dz, a.steps, a.w.rows, a.dnorm.bias);
  layer.sum_columns(dz, a.steps, a.w.rows, a.dnorm.gain, n);
  if (kHasMemory) {
    layer.sum_columns(dy, a.steps, layer.hidden, a.dc_norm.bias);
    layer.sum_columns(dy, a.steps, layer.hidden, a.dc_norm.gain, c_n);
  }
  if (a.dvalues) layer.multiply_links(a.w, du, h, a.h0 ? 0 : 1, a.dvalues);
}

}  // namespace
}  // namespace sparse_engine::cuda
