#include "phases.cuh"
#include "product.cuh"
#include "sparse_engine/spmm.h"

namespace sparse_engine::cuda {
namespace {

template <typename T, int V>
struct Multiply {
  static constexpr int kBlocks = 4;

  Product<T> product;
  const T* bias;
  Panels<T> x;
  Panels<T> y;

  __device__ bool needed(int64_t phase) const { return phase == 0 || product.has_long_rows(); }

  __device__ void operator()(int64_t phase) const {
    product.template phase<V, 1>(phase, x, true,
                                 [&](int64_t row, int64_t panel, int column, Vec<T, V>(&sums)[1]) {
                                   if (bias)
                                     for (int v = 0; v < V; ++v) sums[0].at[v] += bias[row];
                                   store<V>(y.row(panel, row) + column, sums[0]);
                                 });
  }
};

}  // namespace

template <typename T>
void spmm(const Spmm<T>& a, const Stream& stream) {
  if (a.columns == 0 || a.w.rows == 0) return;
  const Shape shape = shape_of<T>(a.columns);
  const DensePanels<T> x(a.x, a.w.cols, shape, stream), y(a.y, a.w.rows, shape, stream);
  const T* values = in_order(a.values, a.permutation, a.w.nnz(), stream);
  const Product<T> product = product_of(a.w, values, a.w.rows, shape, stream);
  x.read(stream);
  with_vector<T>(shape, [&](auto vector) {
    const Multiply<T, vector> program{product, a.bias, x.panels, y.panels};
    launch_each(program, product.pieces.slots > 0 ? 2 : 1, product.threads(), stream);
  });
  y.write(stream);
}

template void spmm(const Spmm<float>&, const Stream&);
template void spmm(const Spmm<double>&, const Stream&);

}  // namespace sparse_engine::cuda
