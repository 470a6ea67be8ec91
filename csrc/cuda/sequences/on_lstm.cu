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
template <typename T>
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

  // A unit at step t, whose masters are at `master_step`.
  __device__ OnLstm::Unit<T> cell(int64_t t, int64_t master_step, int64_t unit, Column n) const {
    const auto gate = [&](int g) { return rows(t, row(g, unit), n); };
    const auto master = [&](int m) { return masters(master_step, m * chunks + unit / chunk(), n); };
    return {gate(0), gate(1), gate(2), gate(3), master(0), master(1)};
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
  Units<T> units;  // rows hold x, and then what is saved; one step of masters
  const T* bias;   // [rows], or null for zeros
  Steps<T> h, c;   // [1 + steps][hidden], the first one is before the sequence
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
    const auto step = [&](int64_t row, Column n, T(&u)[1]) {
      T& at = units.rows(t, row, n);
      const T own = at + u[0] + (bias ? bias[row] : T(0));
      const int64_t gate = units.gate_of(row);
      at = gate < 0 ? own : OnLstm::activated<ScalarMath<T>>(static_cast<int>(gate), own);
    };
    product.template phase<V, 1>(phase, h.at(t), product.extent(t > 0 || has_initial), step);
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
    for (int64_t i = thread_in_grid(); i < h.step_stride(); i += threads_of_grid()) {
      const int64_t unit = i / h.width % units.hidden;
      const Column n{static_cast<int>(i / h.width / units.hidden), static_cast<int>(i % h.width)};
      T memory = c(t, unit, n);
      resets.set_back(t, n, memory);
      T output = units.cell(t, 0, unit, n).template forward<ScalarMath<T>>(memory);
      c(t + 1, unit, n) = memory;
      y(t, unit, n) = output;
      if (!resets.exist()) continue;
      resets.set_back(t + 1, n, output);
      h(t + 1, unit, n) = output;
    }
  }
};

// Three phases per step: the cells, those of units with long rows, and the masters. Two more lead
// to the state before the sequence.
template <typename T, int V>
struct BackwardChunks {
  static constexpr int kBlocks = 2;

  Product<T> product;     // with W^T
  Units<T> units;         // rows hold what was saved, and then du
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
    const auto step = [&](int64_t unit, Column n, T(&sum)[1]) {
      resets.set_back(t + 1, n, sum[0]);
      if (t < 0) {
        dh0(0, unit, n) = sum[0];
        return;
      }
      T before = c(t, unit, n), carry = carried(0, unit, n), du[kGates], of_masters[kMasters];
      resets.set_back(t, n, before);
      units.cell(t, t, unit, n)
          .template backward<ScalarMath<T>>(c(t + 1, unit, n), before, sum[0] + dh(t, unit, n),
                                            carry, du, of_masters);
      resets.set_back(t, n, carry);
      carried(0, unit, n) = carry;
#pragma unroll
      for (int g = 0; g < kGates; ++g) units.rows(t, units.row(g, unit), n) = du[g];
#pragma unroll
      for (int m = 0; m < kMasters; ++m) dmasters(0, m * units.hidden + unit, n) = of_masters[m];
    };
    product.template phase<V, 1>(phase, units.rows.at(t + 1), product.extent(t + 1 < steps), step);
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
template <typename T>
__global__ void __launch_bounds__(kThreads) find_masters(const Units<T> units, int64_t steps) {
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
  const Resets resets = layer.resets(a.resets);
  set_back(h, resets, 1, stream);
  const Units<T> units{layer.hidden, a.chunks, all, masters};
  const Product<T> product = layer.multiply(a.w, a.values, rows);
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
  const Resets resets = layer.resets(a.resets);
  set_back(h, resets, a.steps, stream);
  const Units<T> units{hidden, a.chunks, all, take(a.steps, kMasters * a.chunks)};
  const Steps<T> dh = layer.take(a.steps, 1), carried = layer.take(1, 1), dh0 = layer.take(1, 1);
  const T* values = in_order(a.values, a.permutation, a.w.nnz(), stream);
  const Product<T> product = layer.multiply(a.wt, values, hidden);
  pack(transfer(a.saved, rows, 0, all, 0, rows, a.steps, a.batch), stream);
  pack(layer.all(dh, a.dh, 1, a.steps), stream);
  layer.set_first(carried, a.dc_n);
  launch(find_masters<T>, units.threads(a.steps), stream, units, a.steps);
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
  layer.sum_columns(all, a.steps, rows, a.dbias);
  if (a.dvalues) layer.multiply_links(a.w, all, h, a.h0 ? 0 : 1, a.dvalues);
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
