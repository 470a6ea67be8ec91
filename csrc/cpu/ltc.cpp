#include "sparse_engine/ltc.h"

#include "sequence.h"
#include "sparse_engine/kernels.h"
#include "synapse.h"

namespace sparse_engine {
namespace {

// The membranes of all units, and what drives them at one step.
template <typename T, int L, int NV>
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
        last_(last_fetched<T, W>(a.w, a.w.cols)),
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
        Vec<T, L> numerator[NV], denominator[NV];
        for (int v = 0; v < NV; ++v) {
          numerator[v] = cm_[row] * load<T, L>(before.row(q, row) + v * L) +
                         load<T, L>(current_.row(q, row) + v * L);
          denominator[v] = cm_[row] + load<T, L>(conductance_.row(q, row) + v * L);
        }
        add_synapses<T, L, NV>(numerator, denominator, w_, synapses_, row, before.panel(q), last_);
        for (int v = 0; v < NV; ++v) {
          const Vec<T, L> over = T(1) / denominator[v];
          store<T, L>(after.row(q, row) + v * L, numerator[v] * over);
          if (inverse) store<T, L>(inverse->row(q, row) + v * L, over);
        }
      }
    });
  }

 private:
  const Csr& w_;
  const Synapses<T>& synapses_;
  const T *const cm_, *const given_current_, *const given_conductance_;
  const int32_t* const last_;
  const Sequence<T, W> seq_;
  const Panel current_, conductance_;
};

// Reads h_{t-1} for these rows.
template <class Args, typename T, int W>
void read_state_before(const Args& a, const Sequence<T, W>& seq, const Rows& rows, int64_t t,
                       const State<T, W>& state) {
  seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
    T* tile = state.row(q, first);
    const T* from = t > 0 ? a.h + (t - 1) * a.batch * a.w.rows : a.h0;
    if (from)
      read_tile<T, W>(seq.step(from, a.w.rows, 0, q), first, count, seq.columns(q), tile);
    else
      std::fill(tile, tile + count * W, T(0));
  });
}

template <typename T, int L, int NV>
void forward(const LtcForward<T>& a, int64_t panels) {
  constexpr int W = L * NV;
  const int64_t hidden = a.w.rows;
  const Sequence<T, W> seq{a.batch, panels};
  Scratch scratch(Ring<T, W>::bytes(2, hidden, panels) +
                  Membranes<T, L, NV>::bytes(hidden, panels));
  const Ring<T, W> potentials(scratch, 2, hidden, panels);
  const Membranes<T, L, NV> membranes(a, seq, scratch);
  const int threads = threads_for_step(a.threads, kWorkPerSynapse * a.w.nnz(), hidden, a.batch);

  run_team(threads, [&](const Team& team) {
    const Rows rows = rows_of(a.w, team.rank, team.size, kBlock);
    read_state_before(a, seq, rows, 0, potentials.at(-1));
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      membranes.read(rows, t);
      for (int64_t k = t * a.unfolds; k < (t + 1) * a.unfolds; ++k) {
        membranes.unfold(rows, potentials.at(k - 1), potentials.at(k), nullptr);
        team.barrier();
      }
      const State<T, W> now = potentials.at((t + 1) * a.unfolds - 1);
      seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
        write_tile<T, W>(now.row(q, first), seq.step(a.h, hidden, t, q), first, count,
                         seq.columns(q));
      });
    }
  });
}

template <typename T, int L, int NV>
void backward(const LtcBackward<T>& a, int64_t panels) {
  constexpr int W = L * NV;
  const int64_t hidden = a.w.rows;
  const Sequence<T, W> seq{a.batch, panels};
  Scratch scratch(
      Ring<T, W>::bytes(a.unfolds + 1, hidden, panels) +
      Ring<T, W>::bytes(a.unfolds, hidden, panels) + 2 * Ring<T, W>::bytes(2, hidden, panels) +
      3 * Ring<T, W>::bytes(1, hidden, panels) + Scratch::bytes_of<T>(hidden * L) +
      Membranes<T, L, NV>::bytes(hidden, panels) + SynapseGradient<T, L, NV>::bytes(a.w.nnz()));
  // Potential u is that before unfold u of the present step; `inverse` is one over its denominator.
  const Ring<T, W> potentials(scratch, a.unfolds + 1, hidden, panels);
  const Ring<T, W> inverse(scratch, a.unfolds, hidden, panels);
  const Ring<T, W> dn(scratch, 2, hidden, panels), dd(scratch, 2, hidden, panels);
  const State<T, W> carried = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const State<T, W> dcurrent = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const State<T, W> dconductance = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  T* cm_sums = scratch.take<T>(hidden * L);
  const Membranes<T, L, NV> membranes(a, seq, scratch);
  const SynapseGradient<T, L, NV> gradient(a.wt, a.permutation, a.synapses, scratch);
  const int threads = threads_for_step(a.threads, kWorkPerSynapse * a.w.nnz(), hidden, a.batch);

  // From the gradient of a unit's potential after unfold u to those of numerator and denominator.
  const auto divide = [&](const Vec<T, L>(&dv)[NV], int64_t q, int64_t unit, int64_t u) {
    const auto of = [&](const State<T, W>& state, int v) { return state.row(q, unit) + v * L; };
    Vec<T, L> cm_sum = load<T, L>(cm_sums + unit * L);
    for (int v = 0; v < NV; ++v) {
      const Vec<T, L> of_n = dv[v] * load<T, L>(of(inverse.at(u), v));
      const Vec<T, L> of_d = -of_n * load<T, L>(of(potentials.at(u + 1), v));
      store<T, L>(of(dn.at(u), v), of_n);
      store<T, L>(of(dd.at(u), v), of_d);
      store<T, L>(of(dcurrent, v), load<T, L>(of(dcurrent, v)) + of_n);
      store<T, L>(of(dconductance, v), load<T, L>(of(dconductance, v)) + of_d);
      cm_sum += of_n * load<T, L>(of(potentials.at(u), v)) + of_d;
    }
    store<T, L>(cm_sums + unit * L, cm_sum);
  };

  run_team(threads, [&](const Team& team) {
    const Rows rows = rows_of(a.w, team.rank, team.size, kBlock);
    const Rows units = rows_of(a.wt, team.rank, team.size, kBlock);
    gradient.clear(units);
    std::fill(cm_sums + units.first * L, cm_sums + units.last * L, T(0));
    const auto each_tile = [&](const auto& body) { seq.tiles(units, body); };
    each_tile([&](int64_t q, int64_t first, int count) {
      std::fill(carried.row(q, first), carried.row(q, first + count), T(0));
    });
    for (int64_t t = a.steps - 1; t >= 0; --t) {
      read_state_before(a, seq, rows, t, potentials.at(0));
      membranes.read(rows, t);
      team.barrier();
      for (int64_t u = 0; u < a.unfolds; ++u) {
        const State<T, W> over = inverse.at(u);
        membranes.unfold(rows, potentials.at(u), potentials.at(u + 1), &over);
        team.barrier();
      }
      each_tile([&](int64_t q, int64_t first, int count) {
        alignas(64) T tile[kTileRows * W];
        read_tile<T, W>(seq.step(a.dh, hidden, t, q), first, count, seq.columns(q), tile);
        for (const State<T, W>& sums : {dcurrent, dconductance})
          std::fill(sums.row(q, first), sums.row(q, first + count), T(0));
        for (int r = 0; r < count; ++r) {
          Vec<T, L> dv[NV];
          for (int v = 0; v < NV; ++v)
            dv[v] =
                load<T, L>(tile + r * W + v * L) + load<T, L>(carried.row(q, first + r) + v * L);
          divide(dv, q, first + r, a.unfolds - 1);
        }
      });
      team.barrier();
      for (int64_t u = a.unfolds - 1; u >= 0; --u) {
        const State<T, W> of_n = dn.at(u), of_d = dd.at(u), before = potentials.at(u);
        each_tile([&](int64_t q, int64_t first, int count) {
          for (int64_t unit = first; unit < first + count; ++unit) {
            Vec<T, L> dv[NV];
            for (int v = 0; v < NV; ++v) dv[v] = a.cm[unit] * load<T, L>(of_n.row(q, unit) + v * L);
            gradient.add(dv, unit, before.row(q, unit), of_n.panel(q), of_d.panel(q));
            if (u > 0)
              divide(dv, q, unit, u - 1);
            else
              for (int v = 0; v < NV; ++v) store<T, L>(carried.row(q, unit) + v * L, dv[v]);
          }
        });
        team.barrier();
      }
      each_tile([&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        write_tile<T, W>(dcurrent.row(q, first), seq.step(a.dcurrent, hidden, t, q), first, count,
                         columns);
        write_tile<T, W>(dconductance.row(q, first), seq.step(a.dconductance, hidden, t, q), first,
                         count, columns);
      });
    }
    gradient.finish(units, a.gradients);
    for (int64_t unit = units.first; unit < units.last; ++unit)
      a.dcm[unit] = sum_of_lanes<T, L>(load<T, L>(cm_sums + unit * L));
    if (a.dh0 == nullptr) return;
    each_tile([&](int64_t q, int64_t first, int count) {
      write_tile<T, W>(carried.row(q, first), seq.step(a.dh0, hidden, 0, q), first, count,
                       seq.columns(q));
    });
  });
}

}  // namespace

template <class Isa, typename T>
void ltc_forward(const LtcForward<T>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    forward<T, decltype(lanes)::value, decltype(vectors)::value>(a, panels.count);
  });
}

template <class Isa, typename T>
void ltc_backward(const LtcBackward<T>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    backward<T, decltype(lanes)::value, decltype(vectors)::value>(a, panels.count);
  });
}

template void ltc_forward<SPARSE_ENGINE_ISA, float>(const LtcForward<float>&);
template void ltc_forward<SPARSE_ENGINE_ISA, double>(const LtcForward<double>&);
template void ltc_backward<SPARSE_ENGINE_ISA, float>(const LtcBackward<float>&);
template void ltc_backward<SPARSE_ENGINE_ISA, double>(const LtcBackward<double>&);

}  // namespace sparse_engine
