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

  const T* values;  // [nnz]
  Panels<A> x;

  template <int V>
  struct Of {
    struct Link {
      T value;
      Vec<A, V> row;
    };

    const T* values;
    Rows<A> x;

    __device__ Link load(int64_t link, int source) const {
      return {values[link], x.template load<V>(source)};
    }
    __device__ void add(const Link& link, T (&sums)[1][V]) const {
#pragma unroll
      for (int v = 0; v < V; ++v) sums[0][v] += link.value * computed(link.row.at[v]);
    }
  };

  template <int V>
  __device__ Of<V> of(int64_t, int64_t panel, int column) const {
    return {values, x.rows(panel, column)};
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

  // In two phases; finish(unit, n, sums) has a unit's R sums of a column.
  template <int V, int R, class Finish>
  __device__ void phase(int64_t phase, const Panels<A>& x, const Extent& extent,
                        const Finish& finish) const {
    const Weighted<A> terms{values, x};
    if (!is_staged())
      Gathered::template phase<V, R>(phase, terms, extent, finish);
    else if (phase == 0)
      staged.template sum_parts<V>(terms, this->w, extent.filled);
    else
      staged.template add_parts<R>(this->w, extent, finish);
  }
};

template <typename A, typename T>
Product<A> product_on(const Csr& w, const T* values, int64_t units, const Shape& shape,
                      const Stream& stream) {
  const Staged<A> staged = staged_of<A>(w, shape, stream);
  const Pieces pieces = staged.tiles.exist() ? Pieces{} : pieces_of(w);
  return {row_sums_of<T, A>(w, pieces, Weighted<A>::kSums, units, shape, stream), values, staged};
}

// values[permutation[.]]
template <typename T>
struct Gather {
  const T* values;
  const int32_t* permutation;
  T* out;
  __device__ void operator()(int64_t p) const { out[p] = values[permutation[p]]; }
};

// The same, or the values themselves where there is no permutation.
template <typename T>
const T* in_order(const T* values, const int32_t* permutation, int64_t n, const Stream& stream) {
  if (permutation == nullptr) return values;
  T* out = take<T>(stream, n);
  run_each(Gather<T>{values, permutation, out}, n, stream);
  return out;
}

}  // namespace
}  // namespace sparse_engine::cuda
