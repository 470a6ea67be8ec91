// The time loop of the cells with layer normalisation, forward; csrc/cpu/sequences/normed.h lists
// what a cell is. The phases of a step are the sums of all rows, those of long ones, what the sums
// of a column have in common, and the cell; with a c, what the c of a column have in common, and h.
#pragma once

#include "runtime/activation.cuh"
#include "runtime/phases.cuh"
#include "sequences/layer.cuh"
#include "sequences/normalisation.cuh"

namespace sparse_engine::cuda {
namespace {

// Numbers that a unit saves, n of each gate and then c; and a column.
template <class Cell>
constexpr int kNormedSaved = Cell::kGates + (Cell::kHasMemory ? 1 : 0);
template <class Cell>
constexpr int kMoments = Cell::kHasMemory ? 3 : 1;

// Where the numbers of a unit are, from a column on. All arrays have the same strides, of which
// each kept by itself would take registers.
template <int G>
class Spot {
 public:
  __device__ Spot(const Time& time, int64_t units, int64_t unit, int64_t panel, int column)
      : unit_((panel * units + unit) * time.width + column),
        first_row_((panel * G * units + unit) * time.width + column),
        row_stride_(units * time.width),
        step_(time.panels * units * time.width) {}

  // In an array of a row for each unit.
  template <typename T>
  __device__ T* of(const Steps<T>& array, int64_t t) const {
    return array.data + t * step_ + unit_;
  }
  // In one of G rows for each.
  template <typename T>
  __device__ T* of_gate(const Steps<T>& array, int64_t t, int gate) const {
    return array.data + G * t * step_ + first_row_ + gate * row_stride_;
  }

 private:
  int64_t unit_, first_row_, row_stride_, step_;
};

template <typename T, int V, class Cell>
struct ForwardNormed {
  static constexpr int G = Cell::kGates, kPhases = Cell::kHasMemory ? 6 : 4, kBlocks = 2;

  Cell cell;
  Time time;
  Product<T> product;
  Norm<T> norm, c_norm;
  FeatureSums<T> sums, c_sums;
  Steps<T> x;        // [steps][G * units], where the output gate takes the place of its row
  Steps<T> u;        // [steps][G * units], W h and then n; one step of them where nothing is saved
  Steps<T> h, c;     // [1 + steps][units], the first one is before the sequence
  Steps<T> moments;  // [steps][kMoments], where something is saved
  bool has_initial, saves;

  __device__ bool needed(int64_t phase) const {
    return phase % kPhases != 1 || product.has_second_phase();
  }

  __device__ void operator()(int64_t phase) const {
    const int t = static_cast<int>(phase / kPhases);
    const int part = static_cast<int>(phase % kPhases), panels = time.panels_at(t);
    const Panels<T> own = u.at(own_step(t));
    if (part < 2)
      product.template phase<V, 1>(
          part, h.at(t), Extent{panels, t > 0 || has_initial ? panels : 0},
          [&](int64_t row, Column n, T(&sum)[1]) { own.row(n.panel, row)[n.at] = sum[0]; });
    else if (part == 2)
      sums.template describe<V>(panels, own);
    else if (part == 4)
      c_sums.template describe<V>(panels, c.at(t + 1));
    else
      for (int panel = 0; panel < panels; ++panel)
        if (part == 3)
          cells(t, panel);
        else
          outputs(t, panel);
  }

 private:
  __device__ int64_t own_step(int64_t t) const { return saves ? t : 0; }

  __device__ void cells(int t, int panel) const {
    const Moments<T> of_u = sums.moments(panel, norm.eps);
    const int column = sums.column();
    sums.each_unit(h.features, [&](int64_t unit) {
      const Spot<G> spot(time, h.features, unit, panel, column);
      if (saves && unit == 0) moments.at(t).row(panel, 0)[column] = of_u.second;
      T z[G];
#pragma unroll
      for (int g = 0; g < G; ++g) {
        T* const at = spot.of_gate(u, own_step(t), g);
        const T n = (*at - of_u.first) * of_u.second;
        z[g] = *spot.of_gate(x, t, g) + scaled(norm, g * h.features + unit, n);
        *at = n;
      }
      if constexpr (Cell::kHasMemory) {
        T memory = *spot.of(c, t);
        *spot.of_gate(x, t, Cell::kOutputGate) = cell.template forward<ScalarMath<T>>(z, memory);
        *spot.of(c, t + 1) = memory;
      } else {
        *spot.of(h, t + 1) = cell.template forward<ScalarMath<T>>(z[0]);
      }
    });
  }

  __device__ void outputs(int t, int panel) const {
    if constexpr (Cell::kHasMemory) {
      const Moments<T> of_c = c_sums.moments(panel, c_norm.eps);
      const int column = c_sums.column();
      c_sums.each_unit(h.features, [&](int64_t unit) {
        const Spot<G> spot(time, h.features, unit, panel, column);
        if (saves && unit == 0) {
          moments.at(t).row(panel, 1)[column] = of_c.first;
          moments.at(t).row(panel, 2)[column] = of_c.second;
        }
        const T n = (*spot.of(c, t + 1) - of_c.first) * of_c.second;
        *spot.of(h, t + 1) = cell.template output<ScalarMath<T>>(
            *spot.of_gate(x, t, Cell::kOutputGate), scaled(c_norm, unit, n));
      });
    }
  }
};

template <class Cell, typename T>
void normed_forward(const NormedForward<T>& a, const Cell& cell, const Stream& stream) {
  constexpr int G = Cell::kGates, S = kNormedSaved<Cell>, M = kMoments<Cell>;
  const Layer<T> layer = layer_of<T>(a, a.w.cols, stream), columns = layer.with_units(1);
  const int64_t kept = a.saved ? a.steps : 1;
  const Steps<T> x = layer.take(a.steps, G), u = layer.take(kept, G), h = layer.take_states(a.h0);
  const Steps<T> c = Cell::kHasMemory ? layer.take_states(a.c0) : Steps<T>{};
  const Steps<T> moments = columns.take(kept, M);
  const Product<T> product = layer.multiply(a.w, a.values, a.w.rows);
  pack(layer.all(x, a.x, G, a.steps), stream);
  with_vector<T>(layer.shape, [&](auto vector) {
    const auto sums = [&](int rows) {
      return feature_sums_of<T>(rows * layer.hidden, layer.shape, stream);
    };
    const ForwardNormed<T, vector, Cell> program{
        cell,    layer.time(),    product,           a.norm, a.c_norm, sums(G), sums(1), x, u, h, c,
        moments, a.h0 != nullptr, a.saved != nullptr};
    run(program, program.kPhases * a.steps, product.shared(), stream);
  });
  unpack(layer.all(h.from(1), a.h, 1, a.steps), stream);
  if (Cell::kHasMemory)
    run_each(TakeLast<T>{c.from(1), layer.packing.running, a.steps, a.batch, a.c_n},
             a.batch * layer.hidden, stream);
  if (a.saved == nullptr) return;
  unpack(layer.kept(u, a.saved, S, 0, G), stream);
  if (Cell::kHasMemory) unpack(layer.kept(c.from(1), a.saved, S, G, 1), stream);
  unpack(columns.kept(moments, a.moments, M, 0, M), stream);
}

}  // namespace
}  // namespace sparse_engine::cuda
