#include "runtime/each.cuh"
#include "sparse_engine/cuda.h"
#include "sparse_engine/linear.h"

namespace sparse_engine::cuda {
namespace {

// From the order of W^T to that of W.
template <typename T>
struct PutBack {
  const T* from;
  const int32_t* permutation;
  T* to;
  __device__ void operator()(int64_t p) const { to[permutation[p]] = from[p]; }
};

}  // namespace

// Two products. Unlike on the CPU, one visit for both would need a kernel of its own.
template <typename T, typename A>
void linear_backward(const LinearBackward<T, A>& a, const Stream& stream) {
  const int64_t nnz = a.wt.nnz();
  T* gradient = take<T>(stream, nnz);
  spmm(Spmm<T, A>{a.wt, a.values, a.permutation, nullptr, a.dy, a.dx, a.columns, a.threads},
       stream);
  sddmm(Sddmm<T, A>{a.wt, a.x, a.dy, a.columns, gradient, false, a.threads}, stream);
  run_each(PutBack<T>{gradient, a.permutation, a.dvalues}, nnz, stream);
}

template void linear_backward(const LinearBackward<float>&, const Stream&);
template void linear_backward(const LinearBackward<double>&, const Stream&);
template void linear_backward(const LinearBackward<float, BFloat16>&, const Stream&);

}  // namespace sparse_engine::cuda
