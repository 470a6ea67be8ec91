// conductance_forward and conductance_backward.
#include <tuple>

#include "pattern.h"
#include "sparse_engine/kernels.h"
#include "synapses.h"

namespace sparse_engine::bindings {
namespace {

// A [columns, features] activation, made contiguous.
Tensor rectangle(const Tensor& t, const char* name, ScalarType type, int64_t features) {
  check_type(t, name, type);
  if (t.dim() != 2 || t.size(1) != features)
    fail("expected ", name, " of shape [columns, ", features, "], found ", shape_of(t));
  return made_contiguous(t);
}

std::tuple<Tensor, Tensor> conductance_forward(const Tensor& x, const Tensor& values,
                                               const Tensor& mu, const Tensor& sigma,
                                               const Tensor& erev, const Tensor& crow,
                                               const Tensor& col, const Tensor& t_crow,
                                               const Tensor& t_col, const Tensor& permutation) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    const SynapseArguments<T> synapses(values, mu, sigma, erev, pattern.nnz());
    const Tensor input = rectangle(x, "x", kType<T>, pattern.cols());
    const int64_t columns = input.size(0), targets = pattern.rows();
    Tensor current = empty(input, {columns, targets});
    Tensor conductance = empty(input, {columns, targets});
    if (current.numel() > 0) {
      const Links w = pattern.links();
      kernels<T>().conductance_forward({w.csr(), synapses.view(), data<T>(input),
                                        mutable_data<T>(current), mutable_data<T>(conductance),
                                        columns, threads()});
    }
    return std::tuple(current, conductance);
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

Gradients conductance_backward(const Tensor& dcurrent, const Tensor& dconductance, const Tensor& x,
                               const Tensor& values, const Tensor& mu, const Tensor& sigma,
                               const Tensor& erev, const Tensor& crow, const Tensor& col,
                               const Tensor& t_crow, const Tensor& t_col,
                               const Tensor& permutation) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    const int64_t nnz = pattern.nnz(), targets = pattern.rows();
    const SynapseArguments<T> synapses(values, mu, sigma, erev, nnz);
    const Tensor input = rectangle(x, "x", kType<T>, pattern.cols());
    const int64_t columns = input.size(0);
    const Tensor of_current = rectangle(dcurrent, "dcurrent", kType<T>, targets);
    const Tensor of_conductance = rectangle(dconductance, "dconductance", kType<T>, targets);
    check_shape(of_current, "dcurrent", {columns, targets});
    check_shape(of_conductance, "dconductance", {columns, targets});
    Tensor dx = empty(input, {columns, pattern.cols()});
    SynapseResults<T> to(values, nnz);
    if (dx.numel() > 0) {
      const Links wt = pattern.transposed();
      kernels<T>().conductance_backward({wt.csr(), pattern.order(), synapses.view(), data<T>(input),
                                         data<T>(of_current), data<T>(of_conductance),
                                         mutable_data<T>(dx), to.view(), columns, threads()});
    } else {
      to.clear();
    }
    return Gradients(dx, to.weight, to.mu, to.sigma, to.erev);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "conductance_forward(Tensor x, Tensor values, Tensor mu, Tensor sigma, Tensor erev, Tensor "
      "crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor permutation) -> (Tensor, Tensor)");
  m.def(
      "conductance_backward(Tensor dcurrent, Tensor dconductance, Tensor x, Tensor values, Tensor "
      "mu, Tensor sigma, Tensor erev, Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor "
      "permutation) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  SPARSE_ENGINE_IMPL(m, "conductance_forward", conductance_forward);
  SPARSE_ENGINE_IMPL(m, "conductance_backward", conductance_backward);
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("conductance_forward", SPARSE_ENGINE_CUDA_BOX(&conductance_forward));
  m.impl("conductance_backward", SPARSE_ENGINE_CUDA_BOX(&conductance_backward));
}

}  // namespace sparse_engine::bindings
