// A dense product with few columns, for the input weights of a recurrent layer: one pass, float32
// as float32, whatever PyTorch is told about its matrix units.
#pragma once

#include "runtime/panel.cuh"

namespace sparse_engine::cuda {
namespace {

// Element (i, k) of a strided matrix.
template <typename T>
struct Strided {
  T* data;
  int64_t row_stride, column_stride;

  __device__ T& operator()(int64_t i, int64_t k) const {
    return data[i * row_stride + k * column_stride];
  }
};

// Element (feature, step * batch + column) of a sequence in panels, or (feature, k) where `columns`
// says which one column k is.
template <typename T>
struct SequenceColumns {
  Steps<T> steps;
  int64_t batch;
  const int64_t* columns = nullptr;

  __device__ T& operator()(int64_t feature, int64_t k) const {
    const int64_t at = columns ? columns[k] : k, column = at % batch;
    return steps.at(at / batch).row(column / steps.width, feature)[column % steps.width];
  }
};

// C(i, j) = sum_k A(i, k) B(j, k).
template <class A, class B, class C>
struct DenseProduct {
  A a;
  B b;
  C c;
  int64_t rows, columns, inner;
};

// A block computes a square of C, each thread 4 x 4 elements that are a quarter of a side apart.
template <typename T, class A, class B, class C>
__global__ void __launch_bounds__(kThreads) multiply_dense(const DenseProduct<A, B, C> p) {
  constexpr int kSide = 64, kDepth = 16, kQuarter = kSide / 4;
  static_assert(kQuarter * kQuarter == kThreads);
  __shared__ T a[kDepth][kSide + 1], b[kDepth][kSide + 1];
  const int64_t across = (p.columns + kSide - 1) / kSide;
  const int i = threadIdx.x / kQuarter, j = threadIdx.x % kQuarter;
  for (int64_t square = blockIdx.x; square < across * ((p.rows + kSide - 1) / kSide);
       square += gridDim.x) {
    const int64_t row = square / across * kSide, column = square % across * kSide;
    T sum[4][4] = {};
    for (int64_t k = 0; k < p.inner; k += kDepth) {
      for (int e = threadIdx.x; e < kSide * kDepth; e += blockDim.x) {
        const int depth = e % kDepth, side = e / kDepth;
        const bool inside = k + depth < p.inner;
        a[depth][side] =
            inside && row + side < p.rows ? computed(p.a(row + side, k + depth)) : T(0);
        b[depth][side] =
            inside && column + side < p.columns ? computed(p.b(column + side, k + depth)) : T(0);
      }
      __syncthreads();
#pragma unroll
      for (int depth = 0; depth < kDepth; ++depth)
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
          for (int s = 0; s < 4; ++s)
            sum[r][s] += a[depth][i + r * kQuarter] * b[depth][j + s * kQuarter];
      __syncthreads();
    }
    for (int r = 0; r < 4; ++r)
      for (int s = 0; s < 4; ++s)
        if (row + i + r * kQuarter < p.rows && column + j + s * kQuarter < p.columns)
          p.c(row + i + r * kQuarter, column + j + s * kQuarter) = sum[r][s];
  }
}

template <typename T, class A, class B, class C>
void dense_product(const A& a, const B& b, const C& c, int64_t rows, int64_t columns, int64_t inner,
                   const Stream& stream) {
  const int64_t squares = divide_up(rows, 64) * divide_up(columns, 64);
  launch(multiply_dense<T, A, B, C>, squares * kThreads, stream,
         DenseProduct<A, B, C>{a, b, c, rows, columns, inner});
}

}  // namespace
}  // namespace sparse_engine::cuda
