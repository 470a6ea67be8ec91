#include "products/link_sums.cuh"
#include "products/product.cuh"
#include "runtime/phases.cuh"
#include "sparse_engine/linear.h"

namespace sparse_engine::cuda {
namespace {

// The term of a link of W^T in the gradient of the input, and the link's own gradient, from one
// load of a row of dY.
template <typename A>
struct BothGradients : Weighted<A> {
  using T = Computed<A>;
  static constexpr bool kOfLinks = true;

  Panels<A> held;  // the input
  T* gradient;     // [nnz], in the order of W^T

  template <int V>
  struct Of : Weighted<A>::template Of<V> {
    Vec<T, V> own;
    T* gradient;
    bool overwrite;

    template <int K, class Link>
    __device__ void add_to_links(const Lanes& lanes, const Lane& lane, int64_t link,
                                 const int (&source)[K], const Link (&loaded)[K]) const {
      T dots[K][1] = {};
#pragma unroll
      for (int k = 0; k < K; ++k)
#pragma unroll
        for (int v = 0; v < V; ++v) dots[k][0] += own.at[v] * computed(loaded[k].row.at[v]);
      write_link_sums(lanes, lane, link, source, overwrite, dots, gradient, 0);
    }
  };

  // A row below zero is that of lanes without.
  template <int V>
  __device__ Of<V> of(int64_t row, int64_t panel, int column) const {
    Vec<T, V> own = {};
    if (row >= 0) own = load<V>(held.row(panel, row) + column);
    return {Weighted<A>::template of<V>(row, panel, column), own, gradient, panel == 0};
  }
};

template <typename A, int V>
struct Backward {
  static constexpr int kBlocks = 2;

  Product<A> product;  // with W^T
  BothGradients<A> terms;
  Panels<A> dx;

  __device__ bool needed(int64_t phase) const { return phase == 0 || product.has_second_phase(); }

  __device__ void operator()(int64_t phase) const {
    product.template phase_of<V, 1>(
        phase, terms, product.extent(true),
        [&](int64_t row, int64_t panel, int column, Vec<Computed<A>, V>(&sums)[1]) {
          store<V>(dx.row(panel, row) + column, sums[0]);
        });
  }
};

// From the order of W^T to that of W.
template <typename T>
struct PutBack {
  const T* from;
  const int32_t* permutation;
  T* to;
  __device__ void operator()(int64_t p) const { to[permutation[p]] = from[p]; }
};

}  // namespace

template <typename T, typename A>
void linear_backward(const LinearBackward<T, A>& a, const Stream& stream) {
  const Shape shape = shape_of<A>(a.columns);
  const int64_t nnz = a.wt.nnz();
  const DensePanels<A> x(a.x, a.wt.rows, shape, stream), dy(a.dy, a.wt.cols, shape, stream);
  const DensePanels<A> dx(a.dx, a.wt.rows, shape, stream);
  const T* values = in_order(a.values, a.permutation, nnz, stream);
  T* gradient = take<T>(stream, nnz);
  const Product<A> product = product_on<A>(a.wt, values, a.wt.rows, shape, stream, true);
  x.read(stream);
  dy.read(stream);
  with_vector<A>(shape, [&](auto vector) {
    const Backward<A, vector> program{
        product, {{values, dy.panels}, x.panels, gradient}, dx.panels};
    run(program, product.phases(), product.shared(), stream);
  });
  dx.write(stream);
  run_each(PutBack<T>{gradient, a.permutation, a.dvalues}, nnz, stream);
}

template void linear_backward(const LinearBackward<float>&, const Stream&);
template void linear_backward(const LinearBackward<double>&, const Stream&);
template void linear_backward(const LinearBackward<float, BFloat16>&, const Stream&);

}  // namespace sparse_engine::cuda
