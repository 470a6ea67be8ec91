// Rows of W times panels of X, which is kept as A.
#pragma once

#include "row_sums.cuh"

namespace sparse_engine::cuda {
namespace {

// A link's value times the row that it looks at.
template <typename A>
struct Weighted {
  using T = Computed<A>;
  static constexpr int kSums = 1, kUnrolled = 4;

  const T* values;  // [nnz]
  Panels<A> x;

  template <int V>
  __device__ auto of(int64_t, int64_t panel, int column) const {
    return [values = values, from = x.row(panel, 0) + column, stride = x.row_stride](
               int64_t link, int64_t source, Vec<T, V>(&sums)[1]) {
      const Vec<T, V> row = load<V>(from + source * stride);
      const T value = values[link];
#pragma unroll
      for (int v = 0; v < V; ++v) sums[0].at[v] += value * row.at[v];
    };
  }
};

template <typename A>
struct Product : RowSums<Computed<A>> {
  const Computed<A>* values;  // [nnz]

  // In two phases; finish(unit, panel, column, sums) has a unit's R sums. `filled` is an extent, or
  // for all panels whether there is an x.
  template <int V, int R, class Filled, class Finish>
  __device__ void phase(int64_t phase, const Panels<A>& x, const Filled& filled,
                        const Finish& finish) const {
    RowSums<Computed<A>>::template phase<V, R>(phase, Weighted<A>{values, x}, filled, finish);
  }
};

template <typename A, typename T>
Product<A> product_on(const Csr& w, const T* values, int64_t units, const Shape& shape,
                      const Stream& stream) {
  return {row_sums_of<T, A>(w, Weighted<A>::kSums, units, shape, stream), values};
}

// The same for an X that is kept as the values are.
template <typename T>
Product<T> product_of(const Csr& w, const T* values, int64_t units, const Shape& shape,
                      const Stream& stream) {
  return product_on<T>(w, values, units, shape, stream);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    gather(const T* values, const int32_t* permutation, int64_t n, T* out) {
  for (int64_t p = thread_in_grid(); p < n; p += threads_of_grid()) out[p] = values[permutation[p]];
}

// values[permutation[.]], or the values themselves where there is no permutation.
template <typename T>
const T* in_order(const T* values, const int32_t* permutation, int64_t n, const Stream& stream) {
  if (permutation == nullptr) return values;
  T* out = take<T>(stream, n);
  launch(gather<T>, n, stream, values, permutation, n, out);
  return out;
}

}  // namespace
}  // namespace sparse_engine::cuda
