// conductance_forward and conductance_backward.
#include <tuple>

#include "pattern.h"
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

std::tuple<Tensor, Tensor> forward(const Tensor& x, const Tensor& values, const Tensor& mu,
                                   const Tensor& sigma, const Tensor& erev, const Tensors& links) {
  const Pattern pattern(links);
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    const SynapseArguments<T> synapses(values, mu, sigma, erev, pattern.nnz());
    const Tensor input = rectangle(x, "x", kType<T>, pattern.cols());
    const int64_t columns = input.size(0), targets = pattern.rows();
    Result<T> current(input, {columns, targets}), conductance(input, {columns, targets});
    if (current.tensor().numel() > 0) {
      const Links w = pattern.links();
      kernels<T>().conductance_forward({w.csr(), synapses.view(), data<T>(input), current.data(),
                                        conductance.data(), columns, threads()});
    }
    return std::tuple(current.tensor(), conductance.tensor());
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

Gradients backward(const Tensor& dcurrent, const Tensor& dconductance, const Tensor& x,
                   const Tensor& values, const Tensor& mu, const Tensor& sigma, const Tensor& erev,
                   const Tensors& links) {
  const Pattern pattern(links);
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
    Result<T> dx(input, {columns, pattern.cols()});
    SynapseResults<T> to(values, nnz);
    if (dx.tensor().numel() > 0) {
      const Links wt = pattern.transposed();
      kernels<T>().conductance_backward({wt.csr(), pattern.order(), synapses.view(), data<T>(input),
                                         data<T>(of_current), data<T>(of_conductance), dx.data(),
                                         to.view(), columns, threads()});
    } else {
      to.clear();
    }
    return Gradients(dx.tensor(), to.weight.tensor(), to.mu.tensor(), to.sigma.tensor(),
                     to.erev.tensor());
  });
}

}  // namespace

SPARSE_ENGINE_OPERATION("conductance_forward", forward,
                        "(Tensor x, Tensor values, Tensor mu, Tensor sigma, Tensor erev, "
                        "Tensor[] pattern) -> (Tensor current, Tensor conductance)")
SPARSE_ENGINE_OPERATION("conductance_backward", backward,
                        "(Tensor dcurrent, Tensor dconductance, Tensor x, Tensor values, "
                        "Tensor mu, Tensor sigma, Tensor erev, Tensor[] pattern) -> "
                        "(Tensor dx, Tensor dvalues, Tensor dmu, Tensor dsigma, Tensor derev)")

}  // namespace sparse_engine::bindings
