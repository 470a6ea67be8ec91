// The dense input weights of a recurrent layer, multiplied inside the time loop: the product is
// consumed while it is in the first-level cache and never stored.
#pragma once

#include "runtime/kept.h"

namespace sparse_engine {
namespace {

// Rows of the weight that are multiplied together, so that a row of X is loaded once for all.
template <int NV>
constexpr int kRowsTogether = 8 / NV;

// out[r, :] = sum_k w[r, k] X[k, :] + bias[r] for R rows; X [inputs, W] and out are panels.
template <typename T, int L, int NV, int R, typename A>
SE_INLINE void project_rows(const T* w, int64_t inputs, const T* bias, const A* x, T* out) {
  constexpr int W = L * NV;
  Vec<T, L> sum[R][NV];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < NV; ++v) sum[r][v] = Vec<T, L>{} + (bias ? bias[r] : T(0));
  for (int64_t k = 0; k < inputs; ++k) {
    Vec<T, L> row[NV];
    load_row<T, L>(x + k * W, row);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < NV; ++v) sum[r][v] += w[r * inputs + k] * row[v];
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < NV; ++v) store<T, L>(out + r * W + v * L, sum[r][v]);
}

// The dot product of a row of the weight and a single column: lanes over the inputs.
template <typename T, typename A>
SE_INLINE T dense_dot(const T* w, int64_t inputs, const A* x) {
  constexpr int K = kLanes<T>, kSums = 4;
  Vec<T, K> sum[kSums] = {};
  int64_t k = 0;
  for (; k + K * kSums <= inputs; k += K * kSums)
    for (int i = 0; i < kSums; ++i) sum[i] += load<T, K>(w + k + K * i) * load<T, K>(x + k + K * i);
  for (; k < inputs; k += K)
    sum[0] += load_first<T, K>(w + k, inputs - k) * load_first<T, K>(x + k, inputs - k);
  return sum_of_lanes<T, K>((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

template <typename T, int L, int NV, typename A>
SE_NOINLINE void project(const T* w, int64_t inputs, const T* bias, int rows, const A* x, T* out) {
  if constexpr (L * NV == 1) {
    for (int r = 0; r < rows; ++r)
      out[r] = (bias ? bias[r] : T(0)) + dense_dot(w + r * inputs, inputs, x);
    return;
  }
  constexpr int R = kRowsTogether<NV>;
  int r = 0;
  for (; r + R <= rows; r += R)
    project_rows<T, L, NV, R>(w + r * inputs, inputs, bias ? bias + r : nullptr, x,
                              out + r * L * NV);
  for (; r < rows; ++r)
    project_rows<T, L, NV, 1>(w + r * inputs, inputs, bias ? bias + r : nullptr, x,
                              out + r * L * NV);
}

}  // namespace
}  // namespace sparse_engine
