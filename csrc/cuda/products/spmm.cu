#include "products/product.cuh"
#include "runtime/phases.cuh"
#include "sparse_engine/spmm.h"

namespace sparse_engine::cuda {
namespace {

template <typename A, int V>
struct Multiply {
  using T = Computed<A>;
  static constexpr int kBlocks = V == 8 || sizeof(T) == 8 ? 3 : 4;

  Product<A> product;
  const T* bias;
  Panels<A> x;
  Panels<A> y;

  __device__ bool needed(int64_t phase) const { return phase == 0 || product.has_second_phase(); }

  __device__ void operator()(int64_t phase) const {
    product.template phase<V, 1>(
        phase, x, product.extent(true), [&](int64_t row, Column n, T(&sum)[1]) {
          y.row(n.panel, row)[n.at] = kept_as<A>(bias ? sum[0] + bias[row] : sum[0]);
        });
  }
};

}  // namespace

template <typename T, typename A>
void spmm(const Spmm<T, A>& a, const Stream& stream) {
  if (a.columns == 0 || a.w.rows == 0) return;
  const Shape shape = shape_of<A>(a.columns);
  const DensePanels<A> x(a.x, a.w.cols, shape, stream), y(a.y, a.w.rows, shape, stream);
  const T* values = in_order(a.values, a.permutation, a.w.nnz(), stream);
  const Product<A> product = product_on<A>(a.w, values, a.w.rows, shape, stream);
  x.read(stream);
  with_vector<A>(shape, [&](auto vector) {
    const Multiply<A, vector> program{product, a.bias, x.panels, y.panels};
    run(program, product.phases(), product.shared(), stream);
  });
  y.write(stream);
}

template void spmm(const Spmm<float>&, const Stream&);
template void spmm(const Spmm<double>&, const Stream&);
template void spmm(const Spmm<float, BFloat16>&, const Stream&);

}  // namespace sparse_engine::cuda
