// spmm, spmm_t and sddmm.
#include "dense.h"
#include "pattern.h"

namespace sparse_engine::bindings {
namespace {

// W or, turned, its transpose times x.
Tensor product(const Pattern& pattern, bool turned, const Tensor& values, const Tensor& x,
               const char* x_name, const Optional& bias) {
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t targets = turned ? pattern.cols() : pattern.rows();
    const Tensor links = vector(values, "values", kType<T>, pattern.nnz());
    const Optional offset = vector(bias, "bias", kType<T>, targets);
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

Tensor spmm(const Tensor& values, const Tensors& links, const Tensor& x, const Optional& bias) {
  const Pattern pattern(links);
  return product(pattern, false, values, x, "x", bias);
}

Tensor spmm_t(const Tensor& values, const Tensors& links, const Tensor& y) {
  const Pattern pattern(links);
  return product(pattern, true, values, y, "y", std::nullopt);
}

// with_activations() where there are no values.
template <class Body>
Tensor with_factors(const Tensor& a, const Body& body) {
  if (a.scalar_type() == ScalarType::BFloat16)
    return body(float(), BFloat16(), kernels<float, BFloat16>());
  return with_real(a, "a", [&](auto zero) { return body(zero, zero, kernels<decltype(zero)>()); });
}

Tensor sddmm(const Tensors& links, const Tensor& a, const Tensor& b) {
  const Pattern pattern(links);
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

SPARSE_ENGINE_OPERATION("spmm", spmm,
                        "(Tensor values, Tensor[] pattern, Tensor x, Tensor? bias) -> Tensor")
SPARSE_ENGINE_OPERATION("spmm_t", spmm_t, "(Tensor values, Tensor[] pattern, Tensor y) -> Tensor")
SPARSE_ENGINE_OPERATION("sddmm", sddmm, "(Tensor[] pattern, Tensor a, Tensor b) -> Tensor")

}  // namespace sparse_engine::bindings
