// Rows of W times panels of X, which is kept as A.
#pragma once

#include "products/staged.cuh"

namespace sparse_engine::cuda {
namespace {

// A link's value times the row that it looks at.
template <typename A>
struct Weighted {
  using T = Computed<A>;
  static constexpr int kSums = 1, kInFlight = 4;
  static constexpr bool kOfLinks = false;

  const T* values;  // [nnz]
  Panels<A> x;

  template <int V>
  struct Of {
    struct Link {
      T value;
      Vec<A, V> row;
    };

    const T* values;
    const A* x;
    int stride;

    __device__ Link load(int64_t link, int source) const {
      return {values[link], load_kept<V>(x + int64_t{source} * stride)};
    }
    __device__ void add(const Link& link, Vec<T, V> (&sums)[1]) const {
#pragma unroll
      for (int v = 0; v < V; ++v) sums[0].at[v] += link.value * computed(link.row.at[v]);
    }
  };

  template <int V>
  __device__ Of<V> of(int64_t, int64_t panel, int column) const {
    return {values, x.row(panel, 0) + column, static_cast<int>(x.row_stride)};
  }
};

template <typename A>
struct Product : RowSums<Computed<A>> {
  using Gathered = RowSums<Computed<A>>;

  const Computed<A>* values;  // [nnz]
  Staged<A> staged;           // with parts, it takes the place of gathering

  __host__ __device__ bool is_staged() const { return staged.tiles.exist(); }
  __device__ bool has_second_phase() const { return is_staged() || Gathered::has_second_phase(); }
  int64_t phases() const { return is_staged() ? 2 : Gathered::phases(); }
  int64_t shared() const { return is_staged() ? staged.tiles.bytes() : 0; }

  // In two phases; finish(unit, panel, column, sums) has a unit's R sums.
  template <int V, int R, class Finish>
  __device__ void phase(int64_t phase, const Panels<A>& x, const Extent& extent,
                        const Finish& finish) const {
    this->phase_of<V, R>(phase, Weighted<A>{values, x}, extent, finish);
  }

  // The same for other terms that look at an X.
  template <int V, int R, class Terms, class Finish>
  __device__ void phase_of(int64_t phase, const Terms& terms, const Extent& extent,
                           const Finish& finish) const {
    if (!is_staged())
      Gathered::template phase<V, R>(phase, terms, extent, finish);
    else if (phase == 0)
      staged.template sum_parts<V>(terms, this->w, extent.filled);
    else
      staged.template add_parts<V, R>(this->w, extent, finish);
  }

  // The same for all panels. Without an x, all sums are zero.
  template <int V, int R, class Finish>
  __device__ void phase(int64_t phase, const Panels<A>& x, bool has_x, const Finish& finish) const {
    this->phase<V, R>(phase, x, Gathered::extent(has_x), finish);
  }
};

// With `in_turn`, for terms of links.
template <typename A, typename T>
Product<A> product_on(const Csr& w, const T* values, int64_t units, const Shape& shape,
                      const Stream& stream, bool in_turn = false) {
  const Staged<A> staged = staged_of<A>(w, shape, in_turn, stream);
  const Pieces pieces = staged.tiles.exist() ? Pieces{} : pieces_of(w);
  return {row_sums_of<T, A>(w, pieces, Weighted<A>::kSums, units, shape, stream), values, staged};
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
