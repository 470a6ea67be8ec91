// column_sums.
#include "sparse_engine/sums.h"

#include "dense.h"

namespace sparse_engine::bindings {
namespace {

template <typename T, typename A>
Tensor sums_of(const Tensor& x) {
  if (x.dim() != 2) fail("expected x of shape [features, columns], found ", shape_of(x));
  const Tensor from = readable(x, "x", kType<A>, x.size(0));
  Tensor sums = empty(x, {x.size(0)}, kType<T>);
  if (sums.numel() > 0)
    column_sums<T, A>({view<const A>(from, data<A>(from)), x.size(0), x.size(1),
                       mutable_data<T>(sums), threads()});
  return sums;
}

Tensor column_sums_of(const Tensor& x) {
  if (x.scalar_type() == ScalarType::BFloat16) return sums_of<float, BFloat16>(x);
  return with_real(x, "x", [&](auto zero) { return sums_of<decltype(zero), decltype(zero)>(x); });
}

}  // namespace

SPARSE_ENGINE_CPU_OPERATION("column_sums", column_sums_of, "(Tensor x) -> Tensor")

}  // namespace sparse_engine::bindings
