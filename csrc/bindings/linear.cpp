// The backward pass of a sparse linear layer.
#include "dense.h"
#include "pattern.h"

namespace sparse_engine::bindings {
namespace {

std::tuple<Tensor, Tensor> linear_backward(const Tensor& values, const Tensors& links,
                                           const Tensor& x, const Tensor& dy) {
  const Pattern pattern(links);
  return with_activations(values, dy, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    const int64_t nnz = pattern.nnz();
    const Tensor links = vector(values, "values", kType<T>, nnz);
    const Tensor left = readable(dy, "dy", kType<A>, pattern.rows());
    const Tensor right = readable(x, "x", kType<A>, pattern.cols());
    if (left.size(1) != right.size(1))
      fail("expected x and dy with the same number of columns, found ", right.size(1), " and ",
           left.size(1));
    Tensor dx = empty_like_order(left, pattern.cols());
    Tensor dvalues = empty(links, {nnz});
    if (dx.numel() == 0) return std::tuple(torch::stable::zero_(dvalues), dx);
    const Links wt = pattern.transposed(Check::kPointers);
    bool out_of_range = false;
    kernels.linear_backward({wt.csr(), pattern.order(Check::kPointers), data<T>(links),
                             view<const A>(right, data<A>(right)),
                             view<const A>(left, data<A>(left)), view<A>(dx, mutable_data<A>(dx)),
                             mutable_data<T>(dvalues), left.size(1), threads(), &out_of_range});
    if (out_of_range) pattern.fail_of_range();
    return std::tuple(dvalues, dx);
  });
}

}  // namespace

SPARSE_ENGINE_OPERATION(
    "linear_backward", linear_backward,
    "(Tensor values, Tensor[] pattern, Tensor x, Tensor dy) -> (Tensor, Tensor)")

}  // namespace sparse_engine::bindings
