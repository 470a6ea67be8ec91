// spmm, spmm_t and sddmm.
#include "dense.h"
#include "pattern.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine::bindings {
namespace {

// W or, turned, its transpose times x.
Tensor product(const Pattern& pattern, bool turned, const Tensor& values, const Tensor& x,
               const char* x_name, const std::optional<Tensor>& bias) {
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t targets = turned ? pattern.cols() : pattern.rows();
    const Tensor links = vector(values, "values", kType<T>, pattern.nnz());
    const std::optional<Tensor> offset = vector(bias, "bias", kType<T>, targets);
    const Tensor from = readable(x, x_name, kType<A>, turned ? pattern.rows() : pattern.cols());
    Tensor y = empty_like_order(from, targets);
    const Links w = turned ? pattern.transposed(Check::kPointers) : pattern.links(Check::kPointers);
    bool out_of_range = false;
    kernels.spmm({w.csr(), data<T>(links), turned ? pattern.order(Check::kPointers) : nullptr,
                  data_or_null<T>(offset), view<const A>(from, data<A>(from)),
                  view<A>(y, mutable_data<A>(y)), from.size(1), threads(), &out_of_range});
    if (out_of_range) pattern.fail_of_range();
    return y;
  });
}

Tensor spmm(const Tensor& values, const Tensor& crow, const Tensor& col, const Tensor& t_crow,
            const Tensor& t_col, const Tensor& permutation, const Tensor& x,
            const std::optional<Tensor>& bias) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return product(pattern, false, values, x, "x", bias);
}

Tensor spmm_t(const Tensor& values, const Tensor& crow, const Tensor& col, const Tensor& t_crow,
              const Tensor& t_col, const Tensor& permutation, const Tensor& y) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return product(pattern, true, values, y, "y", std::nullopt);
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
    const Tensor left = readable(a, "a", kType<A>, pattern.rows());
    const Tensor right = readable(b, "b", kType<A>, pattern.cols());
    if (left.size(1) != right.size(1))
      fail("expected a and b with the same number of columns, found ", left.size(1), " and ",
           right.size(1));
    Tensor gradient = empty(a, {pattern.nnz()}, kType<T>);
    const Links w = pattern.links(Check::kPointers);
    bool out_of_range = false;
    kernels.sddmm({w.csr(), view<const A>(left, data<A>(left)),
                   view<const A>(right, data<A>(right)), left.size(1), mutable_data<T>(gradient),
                   false, threads(), &out_of_range});
    if (out_of_range) pattern.fail_of_range();
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
  SPARSE_ENGINE_IMPL(m, "spmm", spmm);
  SPARSE_ENGINE_IMPL(m, "spmm_t", spmm_t);
  SPARSE_ENGINE_IMPL(m, "sddmm", sddmm);
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("spmm", SPARSE_ENGINE_CUDA_BOX(&spmm));
  m.impl("spmm_t", SPARSE_ENGINE_CUDA_BOX(&spmm_t));
  m.impl("sddmm", SPARSE_ENGINE_CUDA_BOX(&sddmm));
}

}  // namespace sparse_engine::bindings
