// The stages of which a step of a continuous-time network consists: the forward pass runs through
// them, and the backward pass does once more for each step.
#pragma once

#include "cells/continuous.h"
#include "products/row_product.h"
#include "runtime/activation.h"
#include "sequences/sequence.h"
#include "sparse_engine/continuous.h"

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

// The states of all units between two stages: what products read of them, kept as A, and the states
// themselves, which nobody but their owner looks at. One array where both are the same numbers.
template <typename T, typename A, int W>
struct Between {
  State<A, W> read;
  State<T, W> own;
};

// The last few of them; `states` says of how many the states themselves are there, or that each
// takes the place of the one before.
template <class Cell, typename T, typename A, int W>
class Trajectory {
 public:
  static constexpr bool kApart = !Cell::kReadsState || !std::is_same_v<T, A>;

  Trajectory(Scratch& scratch, int64_t size, int64_t states, int64_t units, int64_t panels)
      : read_(scratch, size, units, panels), own_(scratch, kApart ? states : 0, units, panels) {}

  static size_t bytes(int64_t size, int64_t states, int64_t units, int64_t panels) {
    return Ring<A, W>::bytes(size, units, panels) +
           Ring<T, W>::bytes(kApart ? states : 0, units, panels);
  }

  // n >= -1
  Between<T, A, W> at(int64_t n) const {
    if constexpr (kApart)
      return {read_.at(n), own_.at(n)};
    else
      return {read_.at(n), read_.at(n)};
  }

 private:
  Ring<A, W> read_;
  Ring<T, W> own_;
};

template <class Cell, typename T, int L, int NV, typename A = T>
class Unfolds {
  static constexpr int W = L * NV;
  static constexpr bool kApart = Trajectory<Cell, T, A, W>::kApart;
  using Math = VectorMath<T, L>;
  using Point = Between<T, A, W>;

 public:
  static size_t bytes(int64_t units, int64_t panels) {
    return Ring<A, W>::bytes(1, units, panels) + 2 * Ring<T, W>::bytes(1, units, panels);
  }

  Unfolds(const Cell& cell, const RungeKutta& method, const RowProduct<T, L, NV>& product,
          const T* rate, const Sequence<T, W>& seq, Scratch& scratch)
      : cell_(cell),
        method_(method),
        product_(product),
        rate_(rate),
        seq_(seq),
        limit_(kept_limit(method)),
        x_(take<A>(scratch)),
        start_(take<T>(scratch)),
        end_(take<T>(scratch)) {}

  int64_t stages() const { return method_.unfolds * method_.stages; }

  // The largest absolute state, a number that A has: rounding does not move a state from there.
  T limit() const { return limit_; }

  // Goes on to step t from a [batch, units] array of states, or from zeros where it is null, with
  // this member's rows of them.
  template <typename From>
  void begin(const Rows& rows, int64_t t, const From* states, const Point& point) const {
    seq_.tiles(rows, [&](int64_t q, int64_t first, int count) {
      read_initial(seq_, states, point.own, q, first, count);
      seq_.set_back(t, q, count, point.own.row(q, first));
      show(q, first, count, point);
    });
  }

  // The same from the states themselves, where episodes begin. A barrier must precede and follow.
  void set_back(const Rows& rows, int64_t t, const Point& point) const {
    seq_.tiles(rows, [&](int64_t q, int64_t first, int count) {
      seq_.set_back(t, q, count, point.own.row(q, first));
      show(q, first, count, point);
    });
  }

  // Holds this member's rows of x_t.
  void hold(const Rows& rows, const A* x, int64_t t) const {
    seq_.tiles(rows, [&](int64_t q, int64_t first, int count) {
      read_tile<T, W>(seq_.step(x, x_.units, t, q), first, count, seq_.columns(q),
                      x_.row(q, first));
    });
  }

  // Stage m of step t for this member's rows, from the states of all units that it looks at. Writes
  // the next stage's states, and what drives them; with no `data`, they are not wanted. A barrier
  // must follow before the next stage.
  void stage(const Rows& rows, int64_t m, const T* dt_of_all, int64_t t, const Point& before,
             const Point& after, const State<T, W>& drive) const {
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
        product_(sum, unit, before.read.panel(q));
        RowWriter<T, L, NV, A> to_read;
        if (after.read.data) to_read.row = after.read.row(q, unit);
        for (int v = 0; v < NV; ++v) {
          const Vec<T, L> y = cell_.template drive<Math>(sum[v]);
          if (drive.data) store<T, L>(drive.row(q, unit) + v * L, y);
          if (after.read.data == nullptr) continue;
          const Vec<T, L> h = load<T, L>(before.own.row(q, unit) + v * L),
                          k = cell_.derivative(y, rate, h);
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
          if (kApart) store<T, L>(after.own.row(q, unit) + v * L, next);
          to_read.set(v, cell_.template read<Math>(next));
        }
      }
    });
  }

 private:
  // Lets products read the states of `count` units.
  void show(int64_t q, int64_t first, int count, const Point& point) const {
    if constexpr (kApart)
      for (int64_t unit = first; unit < first + count; ++unit) {
        Vec<T, L> state[NV];
        load_row<T, L>(point.own.row(q, unit), state);
        for (Vec<T, L>& each : state) each = cell_.template read<Math>(each);
        store_row<T, L>(point.read.row(q, unit), state);
      }
  }

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

  const Cell cell_;
  const RungeKutta method_;
  const RowProduct<T, L, NV>& product_;
  const T* const rate_;
  const Sequence<T, W>& seq_;
  const T limit_;
  const State<A, W> x_;            // of this step
  const State<T, W> start_, end_;  // of this unfold
};

}  // namespace
}  // namespace sparse_engine
