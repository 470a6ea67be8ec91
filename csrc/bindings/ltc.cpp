// ltc_forward and ltc_backward.
#include <tuple>

#include "sequence.h"
#include "synapses.h"

namespace sparse_engine::bindings {
namespace {

// What both passes take, checked.
template <typename T, typename A>
struct LtcArguments {
  const Pattern& pattern;
  SynapseArguments<T> synapses;
  int64_t hidden;
  Tensor cm;
  Layout layout;
  Tensor current, conductance;
  Optional h0, resets;
  int64_t steps = layout.steps, batch = layout.batch, unfolds;

  LtcArguments(const Pattern& links, SynapseArguments<T> parameters, const Tensor& capacitance,
               const Tensor& currents, const Tensor& conductances, const Optional& initial,
               int64_t unfolds, const Optional& begins)
      : pattern(links),
        synapses(std::move(parameters)),
        hidden(links.rows()),
        cm(vector(capacitance, "cm", kType<T>, hidden)),
        layout(currents, "current", std::nullopt, hidden),
        current(layout(currents, "current", kType<A>, hidden)),
        conductance(layout(conductances, "conductance", kType<A>, hidden)),
        h0(state(initial, "h0", kType<T>, layout.batch, hidden)),
        resets(resets_of(begins, layout.steps, layout.batch)),
        unfolds(unfolds) {
    check_square(links);
    if (unfolds < 1) fail("expected unfolds of at least 1, found ", unfolds);
  }
};

// h, and the potentials after its last step, which are not wanted where none is rounded: h has
// them.
std::tuple<Tensor, Tensor> forward(const Tensor& current, const Tensor& conductance,
                                   const Optional& h0, const Tensor& cm, const Tensor& values,
                                   const Tensor& mu, const Tensor& sigma, const Tensor& erev,
                                   const Tensors& links, int64_t unfolds, const Optional& resets) {
  const Pattern pattern(links);
  return with_activations(values, current, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    check_kernel(kernels.ltc_forward);
    constexpr bool rounds = !std::is_same_v<T, A>;
    const LtcArguments<T, A> a(pattern, {values, mu, sigma, erev, pattern.nnz()}, cm, current,
                               conductance, h0, unfolds, resets);
    if (a.steps == 0) fail("expected current of at least one time step, found none");
    Result<A> h(a.cm, a.layout.shape(a.hidden));
    Result<T> h_n(a.cm, {a.batch, a.hidden}, rounds);
    if (h.tensor().numel() > 0) {
      const Links w = pattern.links();
      kernels.ltc_forward({w.csr(), a.synapses.view(), data<T>(a.cm), data<A>(a.current),
                           data<A>(a.conductance), data_or_null<T>(a.h0), h.data(), h_n.data(),
                           a.steps, a.batch, a.unfolds, threads(), data_or_null<bool>(a.resets)});
    }
    return std::tuple(h.tensor(), h_n.tensor());
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

Gradients backward(const Tensor& dh, const Optional& dh_n, const Tensor& h, const Tensor& current,
                   const Tensor& conductance, const Optional& h0, const Tensor& cm,
                   const Tensor& values, const Tensor& mu, const Tensor& sigma, const Tensor& erev,
                   const Tensors& links, int64_t unfolds, const Optional& resets) {
  const Pattern pattern(links);
  return with_activations(values, h, [&](auto real, auto kept, const auto& kernels) {
    using T = decltype(real);
    using A = decltype(kept);
    check_kernel(kernels.ltc_backward);
    const int64_t nnz = pattern.nnz();
    const LtcArguments<T, A> a(pattern, {values, mu, sigma, erev, nnz}, cm, current, conductance,
                               h0, unfolds, resets);
    const Tensor states = a.layout(h, "h", kType<A>, a.hidden);
    const Tensor gradient = a.layout(dh, "dh", kType<A>, a.hidden);
    const Optional of_end = state(dh_n, "dh_n", kType<T>, a.batch, a.hidden);
    const std::vector<int64_t> shape = a.layout.shape(a.hidden);
    Result<A> dcurrent(a.cm, shape), dconductance(a.cm, shape);
    Result<T> dh0(a.cm, {a.batch, a.hidden}, !!a.h0), dcm(a.cm, {a.hidden});
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
                            dcm.data(),
                            dcurrent.data(),
                            dconductance.data(),
                            dh0.data(),
                            a.steps,
                            a.batch,
                            a.unfolds,
                            threads(),
                            data_or_null<bool>(a.resets)});
    } else {
      clear(dh0, dcm, to);
    }
    return Gradients(dcurrent.tensor(), dconductance.tensor(), dh0.tensor(), dcm.tensor(),
                     to.weight.tensor(), to.mu.tensor(), to.sigma.tensor(), to.erev.tensor());
  });
}

}  // namespace

SPARSE_ENGINE_OPERATION("ltc_forward", forward,
                        "(Tensor current, Tensor conductance, Tensor? h0, Tensor cm, "
                        "Tensor values, Tensor mu, Tensor sigma, Tensor erev, Tensor[] pattern, "
                        "int unfolds, Tensor? resets=None) -> (Tensor h, Tensor h_n)")
SPARSE_ENGINE_OPERATION("ltc_backward", backward,
                        "(Tensor dh, Tensor? dh_n, Tensor h, Tensor current, Tensor conductance, "
                        "Tensor? h0, Tensor cm, Tensor values, Tensor mu, Tensor sigma, "
                        "Tensor erev, Tensor[] pattern, int unfolds, Tensor? resets=None) -> "
                        "(Tensor dcurrent, Tensor dconductance, Tensor dh0, Tensor dcm, "
                        "Tensor dvalues, Tensor dmu, Tensor dsigma, Tensor derev)")

}  // namespace sparse_engine::bindings
