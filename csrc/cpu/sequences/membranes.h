// One unfold of the liquid time-constant recurrence, which both passes take.
#pragma once

#include "cells/ltc.h"
#include "sequences/sequence.h"
#include "sequences/synapse.h"
#include "sparse_engine/ltc.h"

namespace sparse_engine {
namespace {

// The membranes of all units, and what drives them at one step.
template <typename T, int L, int NV, typename A>
class Membranes {
  static constexpr int W = L * NV;
  using Panel = State<T, W>;

 public:
  static size_t bytes(int64_t units, int64_t panels) {
    return 2 * Ring<T, W>::bytes(1, units, panels);
  }

  // The arguments of either pass, which must outlive this object.
  template <class Args>
  Membranes(const Args& a, const Sequence<T, W>& seq, Scratch& scratch)
      : w_(a.w),
        synapses_(a.synapses),
        cm_(a.cm),
        given_current_(a.current),
        given_conductance_(a.conductance),
        rows_ahead_(fills_l2<T, W>(a.w.cols)),
        seq_(seq),
        current_(Ring<T, W>(scratch, 1, a.w.rows, seq.panels).at(0)),
        conductance_(Ring<T, W>(scratch, 1, a.w.rows, seq.panels).at(0)) {}

  // Reads what drives these rows at step t. Columns that do not exist get a conductance, too: their
  // potentials must not become NaN, which times 0 is not 0.
  void read(const Rows& rows, int64_t t) const {
    seq_.tiles(rows, [&](int64_t q, int64_t first, int count) {
      const int columns = seq_.columns(q);
      T* tile = conductance_.row(q, first);
      read_tile<T, W>(seq_.step(given_current_, w_.rows, t, q), first, count, columns,
                      current_.row(q, first));
      read_tile<T, W>(seq_.step(given_conductance_, w_.rows, t, q), first, count, columns, tile);
      if (columns < W)
        for (int r = 0; r < count; ++r) std::fill(tile + r * W + columns, tile + (r + 1) * W, T(1));
    });
  }

  // One unfold of these rows. With `inverse`, one over the denominator is kept there.
  void unfold(const Rows& rows, const Panel& before, const Panel& after,
              const Panel* inverse) const {
    seq_.tiles(rows, [&](int64_t q, int64_t first, int count) {
      for (int64_t row = first; row < first + count; ++row) {
        Vec<T, L> current[NV], conductance[NV];
        for (int v = 0; v < NV; ++v) {
          current[v] = load<T, L>(current_.row(q, row) + v * L);
          conductance[v] = load<T, L>(conductance_.row(q, row) + v * L);
        }
        add_synapses<T, L, NV>(current, conductance, w_, synapses_, row, before.panel(q),
                               rows_ahead_);
        for (int v = 0; v < NV; ++v) {
          Vec<T, L> over;
          store<T, L>(after.row(q, row) + v * L,
                      Membrane::forward(cm_[row], load<T, L>(before.row(q, row) + v * L),
                                        current[v], conductance[v], over));
          if (inverse) store<T, L>(inverse->row(q, row) + v * L, over);
        }
      }
    });
  }

 private:
  const Csr& w_;
  const Synapses<T>& synapses_;
  const T* const cm_;
  const A *const given_current_, *const given_conductance_;
  const bool rows_ahead_;
  const Sequence<T, W> seq_;
  const Panel current_, conductance_;
};

}  // namespace
}  // namespace sparse_engine
