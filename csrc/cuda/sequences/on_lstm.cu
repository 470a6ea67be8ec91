#include "cells/on_lstm.h"
#include "runtime/activation.cuh"
#include "runtime/phases.cuh"
#include "sequences/layer.cuh"
#include "sequences/masters.cuh"
#include "sparse_engine/cuda.h"
#include "sparse_engine/on_lstm.h"

namespace sparse_engine::cuda {
namespace {

constexpr int kMasters = OnLstm::kMasters, kGates = OnLstm::kGates;

// What the rows of the weight become, and the masters.
template <typename T, int V>
struct Units {
  int64_t hidden, chunks;
  Steps<T> rows;     // [steps][2 * chunks + 4 * hidden]
  Steps<T> masters;  // [steps][2 * chunks], or of one step in the forward pass

  __device__ int64_t row(int gate, int64_t unit) const {
    return kMasters * chunks + gate * hidden + unit;
  }
  // The gate that a row belongs to; below zero for a master.
  __device__ int64_t gate_of(int64_t row) const {
    return row < kMasters * chunks ? -1 : (row - kMasters * chunks) / hidden;
  }
  __device__ int64_t chunk() const { return hidden / chunks; }

  // body(cell, v) for each of V columns of a unit at step t, whose masters are at `master_step`.
  template <class Body>
  __device__ void cells_of(int64_t t, int64_t master_step, int64_t unit, int64_t panel, int column,
                           const Body& body) const {
    Vec<T, V> of_gate[kGates], of_master[kMasters];
#pragma unroll
    for (int g = 0; g < kGates; ++g)
      of_gate[g] = load<V>(rows.at(t).row(panel, row(g, unit)) + column);
#pragma unroll
    for (int m = 0; m < kMasters; ++m)
      of_master[m] =
          load<V>(masters.at(master_step).row(panel, m * chunks + unit / chunk()) + column);
#pragma unroll
    for (int v = 0; v < V; ++v)
      body(OnLstm::Unit<T>{of_gate[0].at[v], of_gate[1].at[v], of_gate[2].at[v], of_gate[3].at[v],
                           of_master[0].at[v], of_master[1].at[v]},
           v);
  }

  // body(step, panel, column, m, master) for 0 <= step < steps: a warp for each column of each
  // master.
  int64_t threads(int64_t steps) const {
    return kMasters * steps * masters.panels * masters.width * kWarp;
  }
  template <class Body>
  __device__ void each_master(int64_t steps, const Body& body) const {
    const int64_t panels = masters.panels, width = masters.width;
    for (int64_t at = thread_in_grid() / kWarp; at < kMasters * steps * panels * width;
         at += threads_of_grid() / kWarp) {
      const int64_t m = at % kMasters, column = at / kMasters % width;
      const int64_t panel = at / kMasters / width % panels, step = at / kMasters / width / panels;
      body(step, panel, column, m, Master<T>{chunks, masters.width, m == 0});
    }
  }
};

// Four phases per step: the sums of all rows, those of long ones, the masters, and the cells.
template <typename T, int V>
struct ForwardChunks {
  static constexpr int kBlocks = 2;

  Product<T> product;
  Units<T, V> units;  // rows hold x, and then what is saved; one step of masters
  const T* bias;      // [rows], or null for zeros
  Steps<T> h, c;      // [1 + steps][hidden], the first one is before the sequence
  bool has_initial;
  Resets resets;
  Steps<T> y;  // [steps][hidden], h before it is set back; h itself without resets

  __device__ bool needed(int64_t phase) const {
    return phase % 4 != 1 || product.has_second_phase();
  }

  __device__ void operator()(int64_t phase) const {
    const int64_t t = phase / 4;
    if (phase % 4 < 2)
      sums(phase % 4, t);
    else if (phase % 4 == 2)
      masters(t);
    else
      cells(t);
  }

 private:
  __device__ void sums(int64_t phase, int64_t t) const {
    const auto step = [&](int64_t row, int64_t panel, int column, Vec<T, V>(&u)[1]) {
      T* at = units.rows.at(t).row(panel, row) + column;
      Vec<T, V> own = load<V>(at);
      const int64_t gate = units.gate_of(row);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        own.at[v] += u[0].at[v] + (bias ? bias[row] : T(0));
        if (gate >= 0)
          own.at[v] = OnLstm::activated<ScalarMath<T>>(static_cast<int>(gate), own.at[v]);
      }
      store<V>(at, own);
    };
    product.template phase<V, 1>(phase, h.at(t), t > 0 || has_initial, step);
  }

  __device__ void masters(int64_t t) const {
    units.each_master(
        1, [&](int64_t, int64_t panel, int64_t column, int64_t m, const Master<T>& master) {
          T* u = units.rows.at(t).row(panel, m * units.chunks) + column;
          master.softmax(u);
          master.gate(u, units.masters.at(0).row(panel, m * units.chunks) + column);
        });
  }

  __device__ void cells(int64_t t) const {
    const int64_t across = h.width / V;
    for (int64_t i = thread_in_grid(); i < h.panels * units.hidden * across;
         i += threads_of_grid()) {
      const int64_t unit = i / across % units.hidden, panel = i / across / units.hidden;
      const int column = static_cast<int>(i % across) * V;
      Vec<T, V> before = load<V>(c.at(t).row(panel, unit) + column), memory, output;
      resets.set_back(t, panel * h.width + column, before);
      units.cells_of(t, 0, unit, panel, column, [&](const OnLstm::Unit<T>& cell, int v) {
        memory.at[v] = before.at[v];
        output.at[v] = cell.template forward<ScalarMath<T>>(memory.at[v]);
      });
      store<V>(c.at(t + 1).row(panel, unit) + column, memory);
      store<V>(y.at(t).row(panel, unit) + column, output);
      if (!resets.exist()) continue;
      resets.set_back(t + 1, panel * h.width + column, output);
      store<V>(h.at(t + 1).row(panel, unit) + column, output);
    }
  }
};

// Three phases per step: the cells, those of units with long rows, and the masters. Two more lead
// to the state before the sequence.
template <typename T, int V>
struct BackwardChunks {
  static constexpr int kBlocks = 2;

  Product<T> product;     // with W^T
  Units<T, V> units;      // rows hold what was saved, and then du
  Steps<T> dh;            // [steps][hidden]
  Steps<T> c;             // [1 + steps][hidden]
  Steps<T> carried, dh0;  // [1][hidden]
  Steps<T> dmasters;      // [1][2 * hidden], what each unit adds
  Steps<T> later;         // [1][2 * chunks]
  int64_t steps;
  Resets resets;

  __device__ bool needed(int64_t phase) const {
    return phase % 3 != 1 || product.has_second_phase();
  }

  __device__ void operator()(int64_t phase) const {
    const int t = static_cast<int>(steps - 1 - phase / 3), part = static_cast<int>(phase % 3);
    if (part == 2)
      masters(t);
    else
      cells(part, t);
  }

 private:
  __device__ void cells(int phase, int t) const {
    const auto step = [&](int64_t unit, int64_t panel, int column, Vec<T, V>(&sum)[1]) {
      const Place<kMasters> place(unit, units.hidden, panel, column, dh.width);
      const int64_t n = panel * dh.width + column;
      resets.set_back(t + 1, n, sum[0]);
      if (t < 0) return store<V>(dh0.data + place.unit, sum[0]);
      const Vec<T, V> upstream = load<V>(dh.at(t).data + place.unit);
#pragma unroll
      for (int v = 0; v < V; ++v) sum[0].at[v] += upstream.at[v];
      const unsigned beginning = resets.template beginning<V>(t, n);
      Vec<T, V> before = load<V>(c.at(t).data + place.unit);
      Resets::set_back(beginning, before);
      const Vec<T, V> now = load<V>(c.at(t + 1).data + place.unit);
      T* const carry_at = carried.data + place.unit;
      Vec<T, V> carry = load<V>(carry_at), du[kGates], of_master[kMasters];
      units.cells_of(t, t, unit, panel, column, [&](const OnLstm::Unit<T>& cell, int v) {
        T of_gate[kGates], of_masters[kMasters];
        cell.template backward<ScalarMath<T>>(now.at[v], before.at[v], sum[0].at[v], carry.at[v],
                                              of_gate, of_masters);
#pragma unroll
        for (int g = 0; g < kGates; ++g) du[g].at[v] = of_gate[g];
#pragma unroll
        for (int m = 0; m < kMasters; ++m) of_master[m].at[v] = of_masters[m];
      });
      Resets::set_back(beginning, carry);
      store<V>(carry_at, carry);
#pragma unroll
      for (int g = 0; g < kGates; ++g)
        store<V>(units.rows.at(t).row(panel, units.row(g, unit)) + column, du[g]);
#pragma unroll
      for (int m = 0; m < kMasters; ++m)
        store<V>(dmasters.data + place.first_row + m * place.row_stride, of_master[m]);
    };
    product.template phase<V, 1>(phase, units.rows.at(t + 1), t + 1 < steps, step);
  }

  __device__ void masters(int64_t t) const {
    units.each_master(
        1, [&](int64_t, int64_t panel, int64_t column, int64_t m, const Master<T>& master) {
          master.back(dmasters.at(0).row(panel, m * units.hidden) + column, units.chunk(),
                      later.at(0).row(panel, m * units.chunks) + column,
                      units.rows.at(t).row(panel, m * units.chunks) + column);
        });
  }
};

// The masters of all steps, from what was saved of them.
template <typename T, int V>
__global__ void __launch_bounds__(kThreads) find_masters(const Units<T, V> units, int64_t steps) {
  units.each_master(
      steps, [&](int64_t t, int64_t panel, int64_t column, int64_t m, const Master<T>& master) {
        const int64_t first = m * units.chunks;
        master.gate(units.rows.at(t).row(panel, first) + column,
                    units.masters.at(t).row(panel, first) + column);
      });
}

template <typename T, int V>
void forward(const OnLstmForward<T>& a, const Layer<T>& layer) {
  const Stream& stream = layer.stream;
  const int64_t rows = a.w.rows;
  const Steps<T> all = take_steps<T>(stream, a.steps, rows, layer.shape);
  const Steps<T> masters = take_steps<T>(stream, 1, kMasters * a.chunks, layer.shape);
  const Steps<T> h = layer.take_states(a.h0), c = layer.take_states(a.c0);
  const Steps<T> y = a.resets ? layer.take(a.steps, 1) : h.from(1);
  const Resets resets{a.resets, a.steps, a.batch};
  set_back(h, resets, 1, stream);
  const Units<T, V> units{layer.hidden, a.chunks, all, masters};
  const Product<T> product = product_of(a.w, a.values, rows, layer.shape, stream);
  pack(transfer(a.x, rows, 0, all, 0, rows, a.steps, a.batch), stream);
  run(ForwardChunks<T, V>{product, units, a.bias, h, c, a.h0 != nullptr, resets, y}, 4 * a.steps,
      product.shared(), stream);
  unpack(layer.all(y, a.h, 1, a.steps), stream);
  unpack(layer.all(c.from(a.steps), a.c_n, 1, 1), stream);
  if (a.c) unpack(layer.all(c.from(1), a.c, 1, a.steps), stream);
  if (a.saved) unpack(transfer(a.saved, rows, 0, all, 0, rows, a.steps, a.batch), stream);
}

template <typename T, int V>
void backward(const OnLstmBackward<T>& a, const Layer<T>& layer) {
  const Stream& stream = layer.stream;
  const int64_t rows = a.w.rows, hidden = layer.hidden;
  const auto take = [&](int64_t steps, int64_t features) {
    return take_steps<T>(stream, steps, features, layer.shape);
  };
  const Steps<T> all = take(a.steps, rows), h = layer.read_states(a.h0, a.h);
  const Resets resets{a.resets, a.steps, a.batch};
  set_back(h, resets, a.steps, stream);
  const Units<T, V> units{hidden, a.chunks, all, take(a.steps, kMasters * a.chunks)};
  const Steps<T> dh = layer.take(a.steps, 1), carried = layer.take(1, 1), dh0 = layer.take(1, 1);
  const T* values = in_order(a.values, a.permutation, a.w.nnz(), stream);
  const Product<T> product = product_of(a.wt, values, hidden, layer.shape, stream);
  pack(transfer(a.saved, rows, 0, all, 0, rows, a.steps, a.batch), stream);
  pack(layer.all(dh, a.dh, 1, a.steps), stream);
  layer.set_first(carried, a.dc_n);
  launch(find_masters<T, V>, units.threads(a.steps), stream, units, a.steps);
  const BackwardChunks<T, V> program{product,
                                     units,
                                     dh,
                                     layer.read_states(a.c0, a.c),
                                     carried,
                                     dh0,
                                     take(1, kMasters * hidden),
                                     take(1, kMasters * a.chunks),
                                     a.steps,
                                     resets};
  run(program, 3 * a.steps + (a.dh0 ? 2 : 0), product.shared(), stream);
  if (a.dh0) unpack(layer.all(dh0, a.dh0, 1, 1), stream);
  if (a.dc0) unpack(layer.all(carried, a.dc0, 1, 1), stream);
  if (a.dx) unpack(transfer(a.dx, rows, 0, all, 0, rows, a.steps, a.batch), stream);
  sum_over_columns(all, a.steps, rows, a.dbias, stream);
  if (a.dvalues == nullptr) return;
  const int64_t first = a.h0 ? 0 : 1;
  sum_over_panels(link_sums_of(a.w, layer.shape, all.at(first), h.at(first),
                               Panelled{(a.steps - first) * layer.shape.panels}, a.dvalues, stream),
                  layer.shape, false, stream);
}

}  // namespace

template <typename T>
void on_lstm_forward(const OnLstmForward<T>& a, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.cols};
  with_vector<T>(layer.shape, [&](auto vector) { forward<T, vector>(a, layer); });
}

template <typename T>
void on_lstm_backward(const OnLstmBackward<T>& a, const Stream& stream) {
  const Layer<T> layer{stream, shape_of<T>(a.batch), a.steps, a.w.cols};
  with_vector<T>(layer.shape, [&](auto vector) { backward<T, vector>(a, layer); });
}

template void on_lstm_forward(const OnLstmForward<float>&, const Stream&);
template void on_lstm_forward(const OnLstmForward<double>&, const Stream&);
template void on_lstm_backward(const OnLstmBackward<float>&, const Stream&);
template void on_lstm_backward(const OnLstmBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
