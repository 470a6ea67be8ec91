// The time loop of the cells with layer normalisation, backward. With n = (u - mean(u)) scale(u)
// and dn the gradient of n, that of u is scale(u) (dn - mean(dn) - n mean(dn n)): every member of
// the team takes both means for itself behind a barrier. A cell with a c does the same for it
// first.
#pragma once

#include "normed.h"
#include "row_product.h"
#include "weight_gradient.h"

namespace sparse_engine {
namespace {

// The gradients of a normalisation's gain and bias, summed over all steps and columns.
template <typename T, int L>
class NormSums {
 public:
  NormSums(Scratch& scratch, int64_t features)
      : gain_(scratch.take<T>(features * L)), bias_(scratch.take<T>(features * L)) {}

  static size_t bytes(int64_t features) { return 2 * Scratch::bytes_of<T>(features * L); }

  void clear(const Rows& features) const {
    for (T* sums : {gain_, bias_})
      std::fill(sums + features.first * L, sums + features.last * L, T(0));
  }

  // From the gradient of what the normalisation returned, dy, and the normalised number.
  SE_INLINE void add(int64_t feature, Vec<T, L> dy, Vec<T, L> n) const {
    T *gain = gain_ + feature * L, *bias = bias_ + feature * L;
    store<T, L>(gain, load<T, L>(gain) + dy * n);
    store<T, L>(bias, load<T, L>(bias) + dy);
  }

  void write(const Rows& features, const NormGradient<T>& to) const {
    for (int64_t i = features.first; i < features.last; ++i) {
      to.gain[i] = sum_of_lanes<T, L>(load<T, L>(gain_ + i * L));
      to.bias[i] = sum_of_lanes<T, L>(load<T, L>(bias_ + i * L));
    }
  }

 private:
  T *gain_, *bias_;
};

template <typename T, int L, int NV, class Cell>
void backward_loop(const NormedBackward<T>& a, const Cell& cell, int64_t panels) {
  constexpr int W = L * NV, G = Cell::kGates, S = Cell::kSaved, M = kMoments<Cell>;
  const int64_t hidden = a.w.cols, rows = a.w.rows, with_c = Cell::kHasMemory ? hidden : 0;
  const Sequence<T, W> seq{a.batch, panels, a.steps, a.first_row};
  const int threads = threads_for_step(a.threads, a.w.nnz(), rows, a.batch);
  const int64_t places = WeightGradient<T, L, NV>::steps_together(hidden) + 1;
  Scratch scratch(
      Ring<T, W>::bytes(places, rows, panels) + Ring<T, W>::bytes(places, hidden, panels) +
      3 * Ring<T, W>::bytes(1, with_c, panels) + Ring<T, W>::bytes(threads, kKnown, panels) +
      BlockSums<T, L, NV>::bytes(G, hidden, panels) +
      BlockSums<T, L, NV>::bytes(1, with_c, panels) + NormSums<T, L>::bytes(rows) +
      NormSums<T, L>::bytes(with_c) + Scratch::bytes_of<T>(a.w.nnz()) +
      Scratch::bytes_of<T>(threads * kGateTile<W>));
  // Of a step that is not complete, du holds dz.
  const Ring<T, W> du(scratch, places, rows, panels);
  const Ring<T, W> h(scratch, places, hidden, panels);
  const State<T, W> carried = Ring<T, W>(scratch, 1, with_c, panels).at(0);
  const State<T, W> c_first = Ring<T, W>(scratch, 1, with_c, panels).at(0);
  const State<T, W> dy = Ring<T, W>(scratch, 1, with_c, panels).at(0);
  const Ring<T, W> of_members(scratch, threads, kKnown, panels);
  const BlockSums<T, L, NV> u_sums(scratch, G, hidden, panels), c_sums(scratch, 1, with_c, panels);
  const NormSums<T, L> norm_sums(scratch, rows), c_norm_sums(scratch, with_c);
  T* values = scratch.take<T>(a.w.nnz());
  T* tiles = scratch.take<T>(threads * kGateTile<W>);
  const RowProduct<T, L, NV> product{a.wt, {values}, ahead_of<T, W>(a.wt)};

  run_team(threads, [&](const Team& team) {
    const Rows units = rows_of(a.wt, team.rank, team.size, kBlock);
    const Rows units_with_c = Cell::kHasMemory ? units : Rows{0, 0};
    const State<T, W> known = of_members.at(team.rank);
    WeightGradient<T, L, NV> weight_gradient(a.w, rows_of(a.w, team.rank, team.size, kBlock), du, h,
                                             seq, a.dvalues);
    T* const tile = tiles + team.rank * kGateTile<W>;
    const auto of_gate = [&](int g) {
      return Rows{g * hidden + units.first, g * hidden + units.last};
    };
    permute_share(team, a.values, a.permutation, a.w, values);
    for (int g = 0; g < G; ++g) norm_sums.clear(of_gate(g));
    c_norm_sums.clear(units_with_c);
    seq.tiles(units_with_c, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.dc_n, carried, q, first, count);
      read_initial(seq, a.c0, c_first, q, first, count);
    });
    team.barrier();
    const auto read_state = [&](int64_t t, int64_t q, int64_t first, int count) {
      if (t < 0)
        read_initial(seq, a.h0, h.at(t), q, first, count);
      else
        read_tile<T, W>(seq.step(a.h, hidden, t, q), first, count, seq.columns(q, t),
                        h.at(t).row(q, first));
    };

    for (int64_t t = a.steps - 1; t >= 0; --t) {
      const State<T, W> later = du.at(t + 1), now = du.at(t), state = h.at(t);
      const auto saved = saved_at<L, S>(seq, a.saved, hidden, t);
      const auto earlier = saved_at<L, S>(seq, a.saved, hidden, std::max<int64_t>(t - 1, 0));
      const auto moments = saved_at<L, M>(seq, a.moments, 1, t);
      // From the gradient dn of a normalised number n to that of the number itself.
      const auto before_norm = [&](Vec<T, L> dn, Vec<T, L> n, Vec<T, L> scale, int of, int64_t q,
                                   int v) {
        const Vec<T, L> mean = load<T, L>(known.row(q, of) + v * L);
        return scale * (dn - mean - n * load<T, L>(known.row(q, of + 1) + v * L));
      };
      // Keeps the gradients of all gates' z of a unit, and adds them up.
      const auto keep_dz = [&](const Vec<T, L>(&dz)[G], int64_t q, int64_t unit, int v) {
        for (int g = 0; g < G; ++g) {
          const int64_t row = g * hidden + unit;
          const Vec<T, L> n = saved.read(unit, g, q * W + v * L);
          const Vec<T, L> dn = dz[g] * gain_of(a.norm, row);
          store<T, L>(now.row(q, row) + v * L, dz[g]);
          norm_sums.add(row, dz[g], n);
          u_sums.add(q, g, unit, v, dn, dn * n);
        }
      };
      // c as it was normalised.
      const auto normalised_c = [&](int64_t q, int64_t unit, int v) {
        const int64_t n = q * W + v * L;
        return (saved.read(unit, S - 1, n) - moments.read(0, 1, n)) * moments.read(0, 2, n);
      };
      seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
        const bool ends = seq.columns(q, t + 1) == 0;
        if (ends) read_state(t, q, first, count);
        read_state(t - 1, q, first, count);
        read_tile<T, W>(seq.step(a.dh, hidden, t, q), first, count, seq.columns(q, t), tile);
        for (int r = 0; r < count; ++r) {
          const int64_t unit = first + r;
          Vec<T, L> dh[NV];
          load_row<T, L>(tile + r * W, dh);
          if (!ends) product(dh, unit, later.panel(q));
          for (int v = 0; v < NV; ++v) {
            Vec<T, L> dz[G];
            if constexpr (Cell::kHasMemory) {
              constexpr int kOutput = Cell::kOutputGate;
              const Vec<T, L> n = normalised_c(q, unit, v);
              const Vec<T, L> o = saved.read(unit, G + kOutput, q * W + v * L);
              const Vec<T, L> of_y = cell.template output_backward<T, L>(
                  o, scaled<T, L>(a.c_norm, unit, n), dh[v], dz[kOutput]);
              const Vec<T, L> dn = of_y * gain_of(a.c_norm, unit);
              store<T, L>(now.row(q, kOutput * hidden + unit) + v * L, dz[kOutput]);
              store<T, L>(dy.row(q, unit) + v * L, of_y);
              c_norm_sums.add(unit, of_y, n);
              c_sums.add(q, 0, unit, v, dn, dn * n);
            } else {
              dz[0] = cell.template backward<T, L>(load<T, L>(state.row(q, unit) + v * L), dh[v]);
              keep_dz(dz, q, unit, v);
            }
          }
        }
      });
      if constexpr (Cell::kHasMemory) {
        team.barrier();
        for (int64_t q = 0; q < panels && seq.columns(q, t) > 0; ++q)
          c_sums.means(q, known.row(q, kOfC));
        seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
          for (int64_t unit = first; unit < first + count; ++unit)
            for (int v = 0; v < NV; ++v) {
              const int64_t n = q * W + v * L;
              T* carry = carried.row(q, unit) + v * L;
              const Vec<T, L> dn = load<T, L>(dy.row(q, unit) + v * L) * gain_of(a.c_norm, unit);
              const Vec<T, L> dc =
                  load<T, L>(carry) +
                  before_norm(dn, normalised_c(q, unit, v), moments.read(0, 2, n), kOfC, q, v);
              const Vec<T, L> before =
                  t > 0 ? earlier.read(unit, S - 1, n) : load<T, L>(c_first.row(q, unit) + v * L);
              Vec<T, L> keep[S], dz[G];
              for (int s = 0; s < S; ++s) keep[s] = saved.read(unit, s, n);
              for (int g = 0; g < G; ++g) dz[g] = load<T, L>(now.row(q, g * hidden + unit) + v * L);
              // Of a sequence that has ended, `carried` is the gradient of its last c.
              store_first<T, L>(carry, cell.template backward<T, L>(keep, before, dc, dz),
                                saved.batch - n);
              keep_dz(dz, q, unit, v);
            }
        });
      }
      team.barrier();
      for (int64_t q = 0; q < panels && seq.columns(q, t) > 0; ++q)
        u_sums.means(q, known.row(q, kOfU));
      seq.tiles(units, t, [&](int64_t q, int64_t first, int count) {
        for (int g = 0; g < G; ++g) {
          const int64_t row = g * hidden + first;
          if (a.dx)
            write_tile<T, W>(now.row(q, row), seq.step(a.dx, rows, t, q), row, count,
                             seq.columns(q, t));
          for (int r = 0; r < count; ++r)
            for (int v = 0; v < NV; ++v) {
              const int64_t n = q * W + v * L;
              T* at = now.row(q, row + r) + v * L;
              store<T, L>(
                  at, before_norm(load<T, L>(at) * gain_of(a.norm, row + r),
                                  saved.read(first + r, g, n), moments.read(0, 0, n), kOfU, q, v));
            }
        }
      });
      team.barrier();
      weight_gradient.step(t, a.h0 ? 0 : 1);
    }
    for (int g = 0; g < G; ++g) norm_sums.write(of_gate(g), a.dnorm);
    c_norm_sums.write(units_with_c, a.dc_norm);
    if (a.h0 == nullptr) return;
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      const int columns = seq.columns(q);
      for (int r = 0; r < count; ++r) {
        Vec<T, L> sum[NV] = {};
        product(sum, first + r, du.at(0).panel(q));
        store_row<T, L>(tile + r * W, sum);
      }
      write_tile<T, W>(tile, seq.step(a.dh0, hidden, 0, q), first, count, columns);
      if (Cell::kHasMemory)
        write_tile<T, W>(carried.row(q, first), seq.step(a.dc0, hidden, 0, q), first, count,
                         columns);
    });
  });
}

// The same for any batch.
template <class Cell, typename T>
inline void normed_backward(const NormedBackward<T>& a, const Cell& cell) {
  const Panels panels = panels_of<T>(a.batch);
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    backward_loop<T, decltype(lanes)::value, decltype(vectors)::value>(a, cell, panels.count);
  });
}

}  // namespace
}  // namespace sparse_engine
