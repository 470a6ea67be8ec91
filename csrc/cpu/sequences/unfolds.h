// The stages of which a step of a continuous-time network consists: the forward pass runs through
// them, and the backward pass does once more for each step.
#pragma once

#include "cells/ctrnn.h"
#include "products/row_product.h"
#include "runtime/activation.h"
#include "sequences/sequence.h"
#include "sparse_engine/ctrnn.h"

namespace sparse_engine {
namespace {

// The length of an unfold in the columns of one panel; 0 in those that do not exist.
template <typename T, int L, int NV>
struct UnfoldLength {
  alignas(64) T dt[L * NV];

  UnfoldLength(const Sequence<T, L * NV>& seq, const T* dt_of_all, int64_t t, int64_t q) {
    read_tile<T, L * NV>(seq.step(dt_of_all, 1, t, q), 0, 1, seq.columns(q), dt);
  }
  SE_INLINE Vec<T, L> operator[](int v) const { return load<T, L>(dt + v * L); }
};

// Products read states that are kept as A.
template <typename T, int L, int NV, typename A = T>
class Unfolds {
  static constexpr int W = L * NV;
  static constexpr bool kRounds = !std::is_same_v<T, A>;

 public:
  static size_t bytes(int64_t units, int64_t panels) {
    return Ring<A, W>::bytes(1, units, panels) +
           (kRounds ? 3 : 2) * Ring<T, W>::bytes(1, units, panels);
  }

  Unfolds(const RungeKutta& method, const RowProduct<T, L, NV>& product, const T* rate,
          const Sequence<T, W>& seq, Scratch& scratch)
      : method_(method),
        product_(product),
        rate_(rate),
        seq_(seq),
        limit_(kept_limit(method)),
        x_(take<A>(scratch)),
        start_(take<T>(scratch)),
        end_(take<T>(scratch)),
        unrounded_(kRounds ? take<T>(scratch) : State<T, W>{}) {}

  int64_t stages() const { return method_.unfolds * method_.stages; }

  // The largest absolute state, a number that A has: rounding does not move a state from there.
  T limit() const { return limit_; }

  // A unit's state as it is computed: in the panel that products read, or where that is rounded,
  // in one of this member's own.
  SE_INLINE T* state_of(const State<A, W>& panel, int64_t q, int64_t unit) const {
    if constexpr (kRounds)
      return unrounded_.row(q, unit);
    else
      return panel.row(q, unit);
  }

  // Goes on from a [batch, units] array of states, or from zeros where it is null, with this
  // member's rows of them.
  template <typename From>
  void begin(const Rows& rows, const From* states, const State<A, W>& panel) const {
    seq_.tiles(rows, [&](int64_t q, int64_t first, int count) {
      read_initial(seq_, states, panel, q, first, count);
      if constexpr (kRounds) read_initial(seq_, states, unrounded_, q, first, count);
    });
  }

  // Holds this member's rows of x_t.
  void hold(const Rows& rows, const A* x, int64_t t) const {
    seq_.tiles(rows, [&](int64_t q, int64_t first, int count) {
      read_tile<T, W>(seq_.step(x, x_.units, t, q), first, count, seq_.columns(q),
                      x_.row(q, first));
    });
  }

  // Stage m of step t for this member's rows, from the state of all units that it looks at. Writes
  // the next stage's state, and the activation; with no `data`, they are not wanted. A barrier must
  // follow before the next stage.
  void stage(const Rows& rows, int64_t m, const T* dt_of_all, int64_t t, const State<A, W>& before,
             const State<A, W>& after, const State<T, W>& activation) const {
    const int64_t i = m % method_.stages;
    const bool last = i + 1 == method_.stages;
    const T weight = static_cast<T>(method_.weights[i]);
    const T node = last ? T(0) : static_cast<T>(method_.nodes[i + 1]);
    seq_.tiles(rows, [&](int64_t q, int64_t first, int count) {
      const UnfoldLength<T, L, NV> dt(seq_, dt_of_all, t, q);
      for (int64_t unit = first; unit < first + count; ++unit) {
        const T rate = rate_ ? rate_[unit] : T(0);
        Vec<T, L> sum[NV];
        load_row<T, L>(x_.row(q, unit), sum);
        product_(sum, unit, before.panel(q));
        RowWriter<T, L, NV, A> kept;
        if (after.data) kept.row = after.row(q, unit);
        for (int v = 0; v < NV; ++v) {
          const Vec<T, L> y = VectorMath<T, L>::tanh(sum[v]);
          if (activation.data) store<T, L>(activation.row(q, unit) + v * L, y);
          if (after.data == nullptr) continue;
          const Vec<T, L> h = load<T, L>(state_of(before, q, unit) + v * L),
                          k = Leaky::derivative(y, rate, h);
          T *start = start_.row(q, unit) + v * L, *end = end_.row(q, unit) + v * L;
          const Vec<T, L> moved = (i == 0 ? h : load<T, L>(end)) + weight * dt[v] * k;
          Vec<T, L> next;
          if (last) {
            next = clipped(moved, limit_);
          } else {
            if (i == 0) store<T, L>(start, h);
            store<T, L>(end, moved);
            next = load<T, L>(start) + node * dt[v] * k;
          }
          if (kRounds) store<T, L>(unrounded_.row(q, unit) + v * L, next);
          kept.set(v, next);
        }
      }
    });
  }

 private:
  template <typename U>
  State<U, W> take(Scratch& scratch) const {
    return Ring<U, W>(scratch, 1, product_.w.rows, seq_.panels).at(0);
  }

  static T kept_limit(const RungeKutta& method) {
    A limit;
    store<T, 1>(&limit, static_cast<T>(method.clip));
    return load<T, 1>(&limit);
  }

  static SE_INLINE Vec<T, L> clipped(Vec<T, L> h, T clip) {
    const Vec<T, L> most = Vec<T, L>{} + clip;
    return h > clip ? most : h < -clip ? -most : h;
  }

  const RungeKutta method_;
  const RowProduct<T, L, NV>& product_;
  const T* const rate_;
  const Sequence<T, W>& seq_;
  const T limit_;
  const State<A, W> x_;            // of this step
  const State<T, W> start_, end_;  // of this unfold
  const State<T, W> unrounded_;    // the present state, where panels are rounded
};

}  // namespace
}  // namespace sparse_engine
