#include "runtime/phases.cuh"
#include "sequences/synapse.cuh"
#include "sparse_engine/conductance.h"
#include "sparse_engine/cuda.h"

namespace sparse_engine::cuda {
namespace {

// All sums of each row, in panels of their own.
template <typename T, int V, class Terms>
struct SumRows {
  static constexpr int kBlocks = 2, K = Terms::kSums;

  RowSums<T> sums;
  Terms terms;
  Panels<T> to[K];

  __device__ bool needed(int64_t phase) const { return phase == 0 || sums.has_second_phase(); }

  __device__ void operator()(int64_t phase) const {
    sums.template phase<V, 1>(phase, terms, sums.extent(true),
                              [&](int64_t row, Column n, T(&sum)[K]) {
#pragma unroll
                                for (int i = 0; i < K; ++i) to[i].row(n.panel, row)[n.at] = sum[i];
                              });
  }
};

// A [columns, features] array.
template <typename T>
DensePanels<T> rectangle(const T* data, int64_t features, const Shape& shape,
                         const Stream& stream) {
  return {Dense<const T>{data, 1, features}, features, shape, stream};
}

template <typename T, class Terms, class... To>
void sum_rows_to(const Csr& w, const Terms& terms, const Shape& shape, const Stream& stream,
                 const To&... to) {
  const RowSums<T> sums = row_sums_of<T>(w, pieces_of(w), Terms::kSums, w.rows, shape, stream);
  with_vector<T>(shape, [&](auto vector) {
    const SumRows<T, vector, Terms> program{sums, terms, {to.panels...}};
    run(program, sums.phases(), 0, stream);
  });
  (to.write(stream), ...);
}

}  // namespace

template <typename T>
void conductance_forward(const ConductanceForward<T>& a, const Stream& stream) {
  const Shape shape = shape_of<T>(a.columns);
  const DensePanels<T> x = rectangle(a.x, a.w.cols, shape, stream);
  x.read(stream);
  sum_rows_to<T>(a.w, Drive<T>{a.synapses, x.panels}, shape, stream,
                 rectangle(a.current, a.w.rows, shape, stream),
                 rectangle(a.conductance, a.w.rows, shape, stream));
}

template <typename T>
void conductance_backward(const ConductanceBackward<T>& a, const Stream& stream) {
  const int64_t sources = a.wt.rows, targets = a.wt.cols, nnz = a.wt.nnz();
  const Shape shape = shape_of<T>(a.columns);
  const DensePanels<T> x = rectangle(a.x, sources, shape, stream);
  const DensePanels<T> dcurrent = rectangle(a.dcurrent, targets, shape, stream);
  const DensePanels<T> dconductance = rectangle(a.dconductance, targets, shape, stream);
  x.read(stream), dcurrent.read(stream), dconductance.read(stream);
  const SynapsesBack<T> synapses = transposed(a.synapses, a.permutation, nnz, stream);
  const BackTerms<T> terms{synapses, x.panels, dcurrent.panels, dconductance.panels};
  sum_rows_to<T>(a.wt, DriveBack<T>{terms}, shape, stream, rectangle(a.dx, sources, shape, stream));
  const LinkBack<T> links{terms};
  T* sums = take<T>(stream, LinkBack<T>::kSums * nnz);
  sum_over_panels(link_sums_of<T>(a.wt, shape, links, Panelled{shape.panels}, sums, stream), shape,
                  false, stream);
  run_each(FromTransposed<T>{a.synapses, a.permutation, sums, nnz, a.gradients}, nnz, stream);
}

template void conductance_forward(const ConductanceForward<float>&, const Stream&);
template void conductance_forward(const ConductanceForward<double>&, const Stream&);
template void conductance_backward(const ConductanceBackward<float>&, const Stream&);
template void conductance_backward(const ConductanceBackward<double>&, const Stream&);

}  // namespace sparse_engine::cuda
