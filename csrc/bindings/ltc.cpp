// ltc_forward and ltc_backward.
#include <tuple>

#include "pattern.h"
#include "sequence.h"
#include "sparse_engine/kernels.h"
#include "synapses.h"

namespace sparse_engine::bindings {
namespace {

// What both passes take, checked.
template <typename T, typename A>
struct LtcArguments {
  const Pattern& pattern;
  SynapseArguments<T> synapses;
  int64_t hidden;
  Tensor cm, current, conductance;
  std::optional<Tensor> h0;
  int64_t steps, batch, unfolds;

  LtcArguments(const Pattern& links, SynapseArguments<T> parameters, const Tensor& capacitance,
               const Tensor& currents, const Tensor& conductances,
               const std::optional<Tensor>& initial, int64_t unfolds)
      : pattern(links),
        synapses(std::move(parameters)),
        hidden(links.rows()),
        cm(vector(capacitance, "cm", kType<T>, hidden)),
        current(sequence(currents, "current", kType<A>, hidden)),
        conductance(sequence(conductances, "conductance", kType<A>, hidden)),
        steps(current.size(0)),
        batch(current.size(1)),
        unfolds(unfolds) {
    if (links.rows() != links.cols())
      fail("expected a square recurrent weight, found ", links.rows(), " x ", links.cols());
    if (unfolds < 1) fail("expected unfolds of at least 1, found ", unfolds);
    check_shape(conductance, "conductance", {steps, batch, hidden});
    h0 = state(initial, "h0", kType<T>, batch, hidden);
  }
};

// h, and the potentials after its last step; without rows where none is rounded, whose h has them.
std::tuple<Tensor, Tensor> ltc_forward(const Tensor& current, const Tensor& conductance,
                                       const std::optional<Tensor>& h0, const Tensor& cm,
                                       const Tensor& values, const Tensor& mu, const Tensor& sigma,
                                       const Tensor& erev, const Tensor& crow, const Tensor& col,
                                       const Tensor& t_crow, const Tensor& t_col,
                                       const Tensor& permutation, int64_t unfolds) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_activations(values, current, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    check_kernel(kernels.ltc_forward);
    constexpr bool rounds = !std::is_same_v<T, A>;
    const LtcArguments<T, A> a(pattern, {values, mu, sigma, erev, pattern.nnz()}, cm, current,
                               conductance, h0, unfolds);
    if (rounds && a.steps == 0) fail("expected current of at least one time step, found none");
    Tensor h = empty(a.current, {a.steps, a.batch, a.hidden});
    Tensor h_n = empty(a.cm, {rounds ? a.batch : 0, a.hidden});
    if (h.numel() > 0) {
      const Links w = pattern.links();
      kernels.ltc_forward({w.csr(), a.synapses.view(), data<T>(a.cm), data<A>(a.current),
                           data<A>(a.conductance), data_or_null<T>(a.h0), mutable_data<A>(h),
                           rounds ? mutable_data<T>(h_n) : nullptr, a.steps, a.batch, a.unfolds,
                           threads()});
    }
    return std::tuple(h, h_n);
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// Without h0, its gradient comes back empty.
Gradients ltc_backward(const Tensor& dh, const std::optional<Tensor>& dh_n, const Tensor& h,
                       const Tensor& current, const Tensor& conductance,
                       const std::optional<Tensor>& h0, const Tensor& cm, const Tensor& values,
                       const Tensor& mu, const Tensor& sigma, const Tensor& erev,
                       const Tensor& crow, const Tensor& col, const Tensor& t_crow,
                       const Tensor& t_col, const Tensor& permutation, int64_t unfolds) {
  const Pattern pattern(crow, col, t_crow, t_col, permutation);
  return with_activations(values, h, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    check_kernel(kernels.ltc_backward);
    const int64_t nnz = pattern.nnz();
    const LtcArguments<T, A> a(pattern, {values, mu, sigma, erev, nnz}, cm, current, conductance,
                               h0, unfolds);
    const Tensor states = sequence(h, "h", kType<A>, a.hidden);
    const Tensor gradient = sequence(dh, "dh", kType<A>, a.hidden);
    const std::optional<Tensor> of_end = state(dh_n, "dh_n", kType<T>, a.batch, a.hidden);
    check_shape(states, "h", {a.steps, a.batch, a.hidden});
    check_shape(gradient, "dh", {a.steps, a.batch, a.hidden});
    Tensor dcurrent = empty(states, {a.steps, a.batch, a.hidden});
    Tensor dconductance = empty(states, {a.steps, a.batch, a.hidden});
    Tensor dh0 = empty(a.cm, {a.h0 ? a.batch : 0, a.hidden});
    Tensor dcm = empty(a.cm, {a.hidden});
    SynapseResults<T> to(values, nnz);
    if (states.numel() > 0) {
      const Links w = pattern.links(), wt = pattern.transposed();
      kernels.ltc_backward({w.csr(),
                            wt.csr(),
                            pattern.order(),
                            a.synapses.view(),
                            data<T>(a.cm),
                            data<A>(a.current),
                            data<A>(a.conductance),
                            data_or_null<T>(a.h0),
                            data<A>(states),
                            data<A>(gradient),
                            data_or_null<T>(of_end),
                            to.view(),
                            mutable_data<T>(dcm),
                            mutable_data<A>(dcurrent),
                            mutable_data<A>(dconductance),
                            a.h0 ? mutable_data<T>(dh0) : nullptr,
                            a.steps,
                            a.batch,
                            a.unfolds,
                            threads()});
    } else {
      for (Tensor* t : {&dh0, &dcm}) torch::stable::zero_(*t);
      to.clear();
    }
    return Gradients(dcurrent, dconductance, dh0, dcm, to.weight, to.mu, to.sigma, to.erev);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "ltc_forward(Tensor current, Tensor conductance, Tensor? h0, Tensor cm, Tensor values, "
      "Tensor mu, Tensor sigma, Tensor erev, Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, "
      "Tensor permutation, int unfolds) -> (Tensor, Tensor)");
  m.def(
      "ltc_backward(Tensor dh, Tensor? dh_n, Tensor h, Tensor current, Tensor conductance, Tensor? "
      "h0, Tensor cm, Tensor values, Tensor mu, Tensor sigma, Tensor erev, Tensor crow, Tensor "
      "col, Tensor t_crow, Tensor t_col, Tensor permutation, int unfolds) -> (Tensor, Tensor, "
      "Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  SPARSE_ENGINE_IMPL(m, "ltc_forward", ltc_forward);
  SPARSE_ENGINE_IMPL(m, "ltc_backward", ltc_backward);
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("ltc_forward", SPARSE_ENGINE_CUDA_BOX(&ltc_forward));
  m.impl("ltc_backward", SPARSE_ENGINE_CUDA_BOX(&ltc_backward));
}

}  // namespace sparse_engine::bindings
