// The derivative of the unfolds of one step.
#pragma once

#include "sequences/sequence.h"
#include "sequences/synapse.h"
#include "sparse_engine/ltc.h"

namespace sparse_engine {
namespace {

// The backward pass through the unfolds of one step, and what it leaves for the step before.
template <typename T, int L, int NV, typename A>
class UnfoldGradient {
  static constexpr int W = L * NV;
  using Panel = State<T, W>;

 public:
  static size_t bytes(int64_t units, int64_t panels, int64_t unfolds) {
    return Ring<T, W>::bytes(unfolds + 1, units, panels) +
           Ring<T, W>::bytes(unfolds, units, panels) + 2 * Ring<T, W>::bytes(2, units, panels) +
           3 * Ring<T, W>::bytes(1, units, panels) + Scratch::bytes_of<T>(units * L);
  }

  // All but `scratch` must outlive this object.
  UnfoldGradient(const LtcBackward<T, A>& a, const SynapseGradient<T, L, NV>& synapses,
                 const Sequence<T, W>& seq, Scratch& scratch)
      : potentials(scratch, a.unfolds + 1, a.w.rows, seq.panels),
        inverse(scratch, a.unfolds, a.w.rows, seq.panels),
        a_(a),
        synapses_(synapses),
        seq_(seq),
        dn_(scratch, 2, a.w.rows, seq.panels),
        dd_(scratch, 2, a.w.rows, seq.panels),
        carried_(Ring<T, W>(scratch, 1, a.w.rows, seq.panels).at(0)),
        dcurrent_(Ring<T, W>(scratch, 1, a.w.rows, seq.panels).at(0)),
        dconductance_(Ring<T, W>(scratch, 1, a.w.rows, seq.panels).at(0)),
        cm_sums_(scratch.take<T>(a.w.rows * L)) {}

  // Potential u is that before unfold u of the present step; `inverse` is one over the denominator
  // of each unfold. Both must be complete before the step is entered.
  const Ring<T, W> potentials, inverse;

  // Before the last step.
  void begin(const Rows& units) const {
    std::fill(cm_sums_ + units.first * L, cm_sums_ + units.last * L, T(0));
    seq_.tiles(units, [&](int64_t q, int64_t first, int count) {
      read_initial(seq_, a_.dh_n, carried_, q, first, count);
    });
  }

  // From the gradient of h_t to those of the last unfold's numerators and denominators.
  void enter(const Rows& units, int64_t t) const {
    seq_.tiles(units, [&](int64_t q, int64_t first, int count) {
      T* tile = dn_.at(a_.unfolds - 1).row(q, first);  // written behind the place that is read
      read_tile<T, W>(seq_.step(a_.dh, a_.w.rows, t, q), first, count, seq_.columns(q), tile);
      for (const Panel& sums : {dcurrent_, dconductance_})
        std::fill(sums.row(q, first), sums.row(q, first + count), T(0));
      for (int r = 0; r < count; ++r) {
        Vec<T, L> dv[NV];
        for (int v = 0; v < NV; ++v)
          dv[v] = load<T, L>(tile + r * W + v * L) + load<T, L>(carried_.row(q, first + r) + v * L);
        divide(dv, q, first + r, a_.unfolds - 1);
      }
    });
  }

  // From there to the gradients of the links and of the potentials before unfold u, and on to the
  // numerators and denominators of the unfold before. Those of unfold u must be complete.
  void unfold(const Rows& units, int64_t u) const {
    const Panel dn = dn_.at(u), dd = dd_.at(u), before = potentials.at(u);
    seq_.tiles(units, [&](int64_t q, int64_t first, int count) {
      for (int64_t unit = first; unit < first + count; ++unit) {
        Vec<T, L> dv[NV];
        for (int v = 0; v < NV; ++v) dv[v] = a_.cm[unit] * load<T, L>(dn.row(q, unit) + v * L);
        synapses_.add(dv, unit, before.row(q, unit), dn.panel(q), dd.panel(q));
        if (u > 0)
          divide(dv, q, unit, u - 1);
        else
          for (int v = 0; v < NV; ++v) store<T, L>(carried_.row(q, unit) + v * L, dv[v]);
      }
    });
  }

  // Writes what drove the units at step t has as its gradient. No gradient passes to the step
  // before where an episode begins.
  void leave(const Rows& units, int64_t t) const {
    seq_.tiles(units, [&](int64_t q, int64_t first, int count) {
      seq_.set_back(t, q, count, carried_.row(q, first));
    });
    write(units, dcurrent_, a_.dcurrent, t);
    write(units, dconductance_, a_.dconductance, t);
  }

  void finish(const Rows& units) const {
    for (int64_t unit = units.first; unit < units.last; ++unit)
      a_.dcm[unit] = sum_of_lanes<T, L>(load<T, L>(cm_sums_ + unit * L));
    if (a_.dh0) write(units, carried_, a_.dh0, 0);
  }

 private:
  // From the gradient of a unit's potential after unfold u to those of numerator and denominator.
  SE_INLINE void divide(const Vec<T, L> (&dv)[NV], int64_t q, int64_t unit, int64_t u) const {
    const auto of = [&](const Panel& panel, int v) { return panel.row(q, unit) + v * L; };
    const Panel dn = dn_.at(u), dd = dd_.at(u), over = inverse.at(u);
    const Panel before = potentials.at(u), after = potentials.at(u + 1);
    Vec<T, L> cm_sum = load<T, L>(cm_sums_ + unit * L);
    for (int v = 0; v < NV; ++v) {
      Vec<T, L> of_n, of_d;
      cm_sum += Membrane::backward(dv[v], load<T, L>(of(over, v)), load<T, L>(of(before, v)),
                                   load<T, L>(of(after, v)), of_n, of_d);
      store<T, L>(of(dn, v), of_n);
      store<T, L>(of(dd, v), of_d);
      store<T, L>(of(dcurrent_, v), load<T, L>(of(dcurrent_, v)) + of_n);
      store<T, L>(of(dconductance_, v), load<T, L>(of(dconductance_, v)) + of_d);
    }
    store<T, L>(cm_sums_ + unit * L, cm_sum);
  }

  template <typename To>
  void write(const Rows& units, const Panel& panel, To* array, int64_t t) const {
    seq_.tiles(units, [&](int64_t q, int64_t first, int count) {
      write_tile<T, W>(panel.row(q, first), seq_.step(array, a_.w.rows, t, q), first, count,
                       seq_.columns(q));
    });
  }

  const LtcBackward<T, A>& a_;
  const SynapseGradient<T, L, NV>& synapses_;
  const Sequence<T, W> seq_;
  const Ring<T, W> dn_, dd_;
  const Panel carried_, dcurrent_, dconductance_;
  T* const cm_sums_;
};

}  // namespace
}  // namespace sparse_engine
