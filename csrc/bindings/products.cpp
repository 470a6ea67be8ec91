// spmm, spmm_t and sddmm.
#include "dense.h"
#include "pattern.h"

namespace sparse_engine::bindings {
namespace {

// Writes W x + b or, turned, W^T x + b to y, for as many columns as `from` has.
template <class T, class A, class Kernels>
void multiply(const Kernels& kernels, const Pattern& pattern, bool turned, const Tensor& values,
              const Optional& bias, Dense<const A> from, Dense<A> y, int64_t columns) {
  const Links w = turned ? pattern.transposed(Check::kPointers) : pattern.links(Check::kPointers);
  const Tensor links = vector(values, "values", kType<T>, pattern.nnz());
  const Optional offset = vector(bias, "bias", kType<T>, w.csr().rows);
  bool out_of_range = false;
  kernels.spmm({w.csr(), data<T>(links), turned ? pattern.order(Check::kPointers) : nullptr,
                data_or_null<T>(offset), from, y, columns, threads(), &out_of_range});
  if (out_of_range) pattern.fail_of_range();
}

// W or, turned, its transpose times x.
Tensor product(const Pattern& pattern, bool turned, const Tensor& values, const Tensor& x,
               const char* x_name, const Optional& bias) {
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    const Tensor from = readable(x, x_name, kType<A>, turned ? pattern.rows() : pattern.cols());
    Tensor y = empty_like_order(from, turned ? pattern.cols() : pattern.rows());
    multiply<T, A>(kernels, pattern, turned, values, bias, view<const A>(from, data<A>(from)),
                   view<A>(y, mutable_data<A>(y)), from.size(1));
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

// torch.nn.functional.linear(x, W, bias). A matrix whose features go first in memory gives one.
Tensor linear(const Tensor& values, const Tensors& links, const Tensor& x, const Optional& bias) {
  const Pattern pattern(links);
  std::vector<int64_t> shape = sizes_of(x);
  if (shape.empty() || shape.back() != pattern.cols())
    fail("expected input of shape [..., ", pattern.cols(), "], found ", shape_of(x));
  if (x.dim() == 2 && !x.is_contiguous())
    return torch::stable::transpose(
        product(pattern, false, values, torch::stable::transpose(x, 0, 1), "input", bias), 0, 1);
  return with_activations(values, x, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    check_type(x, "input", kType<A>);
    const Tensor from = made_contiguous(x);
    shape.back() = pattern.rows();
    Tensor y = empty(x, shape);
    shape.pop_back();
    int64_t columns = 1;
    for (const int64_t n : shape) columns *= n;
    multiply<T, A>(kernels, pattern, false, values, bias,
                   columns_of(data<A>(from), columns, pattern.cols()),
                   columns_of(mutable_data<A>(y), columns, pattern.rows()), columns);
    return y;
  });
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
SPARSE_ENGINE_OPERATION("linear", linear,
                        "(Tensor values, Tensor[] pattern, Tensor x, Tensor? bias) -> Tensor")
SPARSE_ENGINE_OPERATION("spmm_t", spmm_t, "(Tensor values, Tensor[] pattern, Tensor y) -> Tensor")
SPARSE_ENGINE_OPERATION("sddmm", sddmm, "(Tensor[] pattern, Tensor a, Tensor b) -> Tensor")

}  // namespace sparse_engine::bindings
