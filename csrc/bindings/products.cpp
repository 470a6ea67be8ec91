// spmm, spmm_t and sddmm.
#include "dense.h"
#include "pattern.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine::bindings {
namespace {

Tensor product(const Csr& w, const int32_t* permutation, const Tensor& values, const Tensor& x,
               const char* x_name, const std::optional<Tensor>& bias) {
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    const Tensor links = vector(values, "values", kType<T>, w.nnz());
    const std::optional<Tensor> offset = vector(bias, "bias", kType<T>, w.rows);
    const Tensor from = readable(x, x_name, kType<A>, w.cols);
    Tensor y = empty_like_order(from, w.rows);
    kernels.spmm({w, data<T>(links), permutation, data_or_null<T>(offset),
                  view<const A>(from, data<A>(from)), view<A>(y, mutable_data<A>(y)), from.size(1),
                  threads()});
    return y;
  });
}

Tensor spmm(const Tensor& values, const Tensor& crow, const Tensor& col, const Tensor& t_crow,
            const Tensor& t_col, const Tensor& permutation, const Tensor& x,
            const std::optional<Tensor>& bias) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return product(pattern.w, nullptr, values, x, "x", bias);
}

Tensor spmm_t(const Tensor& values, const Tensor& crow, const Tensor& col, const Tensor& t_crow,
              const Tensor& t_col, const Tensor& permutation, const Tensor& y) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return product(pattern.wt, pattern.permutation, values, y, "y", std::nullopt);
}

// with_activations() where there are no values.
template <class Body>
Tensor with_factors(const Tensor& a, const Body& body) {
  if (a.scalar_type() == ScalarType::BFloat16)
    return body(float(), BFloat16(), kernels<float, BFloat16>());
  return with_real(a, "a", [&](auto zero) { return body(zero, zero, kernels<decltype(zero)>()); });
}

Tensor sddmm(const Tensor& crow, const Tensor& col, const Tensor& t_crow, const Tensor& t_col,
             const Tensor& permutation, const Tensor& a, const Tensor& b) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_factors(a, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    const Tensor left = readable(a, "a", kType<A>, pattern.w.rows);
    const Tensor right = readable(b, "b", kType<A>, pattern.w.cols);
    if (left.size(1) != right.size(1))
      fail("expected a and b with the same number of columns, found ", left.size(1), " and ",
           right.size(1));
    Tensor gradient = torch::stable::new_empty(a, {pattern.w.nnz()}, kType<T>);
    kernels.sddmm({pattern.w, view<const A>(left, data<A>(left)),
                   view<const A>(right, data<A>(right)), left.size(1), mutable_data<T>(gradient),
                   false, threads()});
    return gradient;
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "spmm(Tensor values, Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, "
      "Tensor permutation, Tensor x, Tensor? bias) -> Tensor");
  m.def(
      "spmm_t(Tensor values, Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, "
      "Tensor permutation, Tensor y) -> Tensor");
  m.def(
      "sddmm(Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation, "
      "Tensor a, Tensor b) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  m.impl("spmm", TORCH_BOX(&spmm));
  m.impl("spmm_t", TORCH_BOX(&spmm_t));
  m.impl("sddmm", TORCH_BOX(&sddmm));
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("spmm", SPARSE_ENGINE_CUDA_BOX(&spmm));
  m.impl("spmm_t", SPARSE_ENGINE_CUDA_BOX(&spmm_t));
  m.impl("sddmm", SPARSE_ENGINE_CUDA_BOX(&sddmm));
}

}  // namespace sparse_engine::bindings
