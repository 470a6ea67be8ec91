// What both time loops of the ordered-neurons LSTM, on_lstm_forward.h and on_lstm_backward.h, have
// in common: the master gates of the chunks.
#pragma once

#include "cells/on_lstm.h"
#include "sequences/kept_sigmoid.h"
#include "sparse_engine/on_lstm.h"

namespace sparse_engine {
namespace {

constexpr int kMasters = OnLstm::kMasters, kGates = OnLstm::kGates;

// Rows [first, first + rows) of w, whose links stay where they are.
inline Csr rows_from(const Csr& w, int64_t first, int64_t rows) {
  return {w.ptr + first, w.idx, rows, w.cols, w.ptr[first + rows]};
}

// The softmax over n rows of a panel.
template <typename T, int L, int NV>
inline void softmax(const T* x, int64_t n, T* p) {
  for (int v = 0; v < NV; ++v) {
    Vec<T, L> most = load<T, L>(x + v * L), total = {};
    for (int64_t at = v * L; at < n * L * NV; at += L * NV) {
      const Vec<T, L> here = load<T, L>(x + at);
      most = here > most ? here : most;
    }
    for (int64_t at = v * L; at < n * L * NV; at += L * NV) {
      const Vec<T, L> e = VectorMath<T, L>::exp_of_negative(load<T, L>(x + at) - most);
      store<T, L>(p + at, e);
      total += e;
    }
    for (int64_t at = v * L; at < n * L * NV; at += L * NV)
      store<T, L>(p + at, load<T, L>(p + at) / total);
  }
}

// A softmax over n rows that was rounded: makes its sum 1 again. What is missing from a cumulative
// sum to 1 is then the sum of the others, as exact as they are, and neither the difference of two
// rounded numbers nor negative.
template <typename T, int L, int NV>
inline void normalise(int64_t n, T* p) {
  for (int v = 0; v < NV; ++v) {
    Vec<T, L> total = {};
    for (int64_t at = v * L; at < n * L * NV; at += L * NV) total += load<T, L>(p + at);
    // Columns that do not exist are zeros.
    total = total > T(0) ? total : Vec<T, L>{} + T(1);
    for (int64_t at = v * L; at < n * L * NV; at += L * NV)
      store<T, L>(p + at, load<T, L>(p + at) / total);
  }
}

// Both masters of a panel, from the softmax of each: one minus its cumulative sums for the first,
// the sums themselves for the second.
template <typename T, int L, int NV>
inline void masters_of(const T* p, int64_t chunks, T* masters) {
  constexpr int W = L * NV;
  for (int v = 0; v < NV; ++v) {
    Vec<T, L> in = {}, forget = {};
    for (int64_t at = v * L; at < chunks * W; at += W) {
      in += load<T, L>(p + at);
      forget += load<T, L>(p + chunks * W + at);
      store<T, L>(masters + at, T(1) - in);
      store<T, L>(masters + chunks * W + at, forget);
    }
  }
}

// From the gradients of cumulative sums, one for each of the units that share a sum, to those of
// the softmax's arguments.
template <typename T, int L, int NV>
inline void cumsoftmax_backward(const T* p, const T* dsums, int64_t chunks, int64_t chunk, T* dx) {
  constexpr int W = L * NV;
  for (int v = 0; v < NV; ++v) {
    Vec<T, L> later = {}, mean = {};
    for (int64_t k = chunks - 1; k >= 0; --k) {
      for (int64_t unit = k * chunk; unit < (k + 1) * chunk; ++unit)
        later += load<T, L>(dsums + unit * W + v * L);
      mean += later * load<T, L>(p + k * W + v * L);
      store<T, L>(dx + k * W + v * L, later);
    }
    for (int64_t at = v * L; at < chunks * W; at += W)
      store<T, L>(dx + at, load<T, L>(p + at) * (load<T, L>(dx + at) - mean));
  }
}

}  // namespace
}  // namespace sparse_engine
