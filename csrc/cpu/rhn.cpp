#include "sparse_engine/rhn.h"

#include "adjoint.h"
#include "gated.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

// One unit of a level.
template <bool kCoupled>
struct Highway {
  static constexpr int kBlocks = kCoupled ? 2 : 3;
  static constexpr int kSaved = kBlocks + 1;

  template <typename T, int L>
  static SE_INLINE Vec<T, L> forward(const Vec<T, L> (&u)[kBlocks], Vec<T, L> before,
                                     Vec<T, L> (&saved)[kSaved]) {
    const Vec<T, L> h = Tanh::of<T, L>(u[0]), t = Sigmoid::of<T, L>(u[1]);
    saved[0] = h, saved[1] = t;
    if constexpr (!kCoupled) saved[2] = Sigmoid::of<T, L>(u[2]);
    saved[kBlocks] = before;
    return h * t + before * carry<T, L>(saved);
  }

  // From the gradient of the state to that of u; returns what reaches the gradient of the state
  // before other than by the weight.
  template <typename T, int L>
  static SE_INLINE Vec<T, L> backward(const Vec<T, L> (&saved)[kSaved], Vec<T, L> ds,
                                      Vec<T, L> (&du)[kBlocks]) {
    const Vec<T, L> h = saved[0], t = saved[1], before = saved[kBlocks];
    du[0] = ds * t * Tanh::slope<T, L>(h);
    du[1] = ds * (kCoupled ? h - before : h) * Sigmoid::slope<T, L>(t);
    if constexpr (!kCoupled) du[2] = ds * before * Sigmoid::slope<T, L>(saved[2]);
    return ds * carry<T, L>(saved);
  }

 private:
  template <typename T, int L>
  static SE_INLINE Vec<T, L> carry(const Vec<T, L> (&saved)[kSaved]) {
    return kCoupled ? T(1) - saved[1] : saved[2];
  }
};

// Links of all levels.
template <class Args>
inline int64_t links_of(const Args& a) {
  int64_t links = 0;
  for (int64_t l = 0; l < a.depth; ++l) links += a.levels[l].w.nnz();
  return links;
}

// Rows [first, first + count) of panel q of the mask.
template <typename T, int W>
inline void read_mask(const Sequence<T, W>& seq, const T* mask, const State<T, W>& to, int64_t q,
                      int64_t first, int count) {
  read_initial(seq, mask, to, q, first, count);
  if (mask == nullptr) std::fill(to.row(q, first), to.row(q, first + count), T(1));
}

template <typename T, int L, int NV, class Cell>
void forward_loop(const RhnForward<T>& a, int64_t panels) {
  constexpr int W = L * NV, G = Cell::kBlocks, S = Cell::kSaved;
  const int64_t hidden = a.levels[0].w.cols;
  const Sequence<T, W> seq{a.batch, panels};
  const int64_t links = links_of(a);
  const int threads = threads_for_step(a.threads, links / a.depth, G * hidden, a.batch);
  Scratch scratch(Ring<T, W>::bytes(2, hidden, panels) + 2 * Ring<T, W>::bytes(1, hidden, panels) +
                  Scratch::bytes_of<T>(threads * S * kGateTile<W>));
  const Ring<T, W> masked(scratch, 2, hidden, panels);
  const State<T, W> state = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const State<T, W> mask = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  T* tiles = scratch.take<T>(threads * S * kGateTile<W>);

  run_team(threads, [&](const Team& team) {
    T* tile = tiles + team.rank * S * kGateTile<W>;
    const auto units_of_level = [&](int64_t l) {
      return units_of(a.levels[l].w, G, team.rank, team.size, kBlock);
    };
    seq.tiles(units_of_level(0), [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.s0, state, q, first, count);
      read_mask(seq, a.mask, mask, q, first, count);
      for (int64_t i = 0; i < count * W; ++i)
        masked.at(-1).row(q, first)[i] = mask.row(q, first)[i] * state.row(q, first)[i];
    });
    team.barrier();
    for (int64_t k = 0; k < a.steps * a.depth; ++k) {
      const int64_t t = k / a.depth, l = k % a.depth;
      const bool fed = l < a.fed;
      const T* bias = a.bias ? a.bias + l * G * hidden : nullptr;
      const State<T, W> before = masked.at(k - 1), now = masked.at(k);
      const RowProduct<T, L, NV> product{
          a.levels[l].w, {a.levels[l].values}, ahead_of<T, W>(a.levels[l].w)};
      seq.tiles(units_of_level(l), [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        for (int g = 0; g < G && fed; ++g)
          read_tile<T, W>(seq.step(a.x, G * hidden, t * a.fed + l, q), g * hidden + first, count,
                          columns, tile + g * kGateTile<W>);
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sums[G][NV];
          for (int g = 0; g < G; ++g) {
            const int64_t row = g * hidden + first + r;
            const T* x = tile + g * kGateTile<W> + r * W;
            Vec<T, L> sum[NV];
            for (int v = 0; v < NV; ++v)
              sum[v] = (fed ? load<T, L>(x + v * L) : Vec<T, L>{}) + (bias ? bias[row] : T(0));
            product(sum, row, before.panel(q));
            for (int v = 0; v < NV; ++v) sums[g][v] = sum[v];
          }
          for (int v = 0; v < NV; ++v) {
            T* at = state.row(q, first + r) + v * L;
            Vec<T, L> u[G], saved[S];
            for (int g = 0; g < G; ++g) u[g] = sums[g][v];
            const Vec<T, L> s = Cell::template forward<T, L>(u, load<T, L>(at), saved);
            store<T, L>(at, s);
            store<T, L>(now.row(q, first + r) + v * L,
                        s * load<T, L>(mask.row(q, first + r) + v * L));
            for (int i = 0; i < S; ++i)
              store<T, L>(tile + i * kGateTile<W> + r * W + v * L, saved[i]);
          }
        }
        if (l + 1 == a.depth)
          write_tile<T, W>(state.row(q, first), seq.step(a.y, hidden, t, q), first, count, columns);
        if (a.saved)
          for (int i = 0; i < S; ++i)
            write_tile<T, W>(tile + i * kGateTile<W>, seq.step(a.saved, S * hidden, k, q),
                             i * hidden + first, count, columns);
      });
      team.barrier();
    }
  });
}

template <typename T, int L, int NV, class Cell>
void backward_loop(const RhnBackward<T>& a, int64_t panels) {
  using Back = Adjoint<T, L, NV>;
  using Visits = typename Back::Visits;
  constexpr int W = L * NV, G = Cell::kBlocks, S = Cell::kSaved;
  constexpr int64_t kTile = (S + 1) * kGateTile<W>;  // what was saved, and the gradient of y
  const int64_t hidden = a.levels[0].w.cols, last = a.steps * a.depth - 1;
  const Sequence<T, W> seq{a.batch, panels};
  const int64_t links = links_of(a);
  const int threads = threads_for_step(a.threads, links / a.depth, G * hidden, a.batch);
  Scratch scratch(Ring<T, W>::bytes(2, G * hidden, panels) + Ring<T, W>::bytes(2, hidden, panels) +
                  2 * Ring<T, W>::bytes(1, hidden, panels) + Scratch::bytes_of<T>(2 * links) +
                  Scratch::bytes_of<int64_t>(a.depth + 1) +
                  Scratch::bytes_of<T>(a.depth * G * hidden * L) +
                  Scratch::bytes_of<T>(threads * kTile));
  const Ring<T, W> du(scratch, 2, G * hidden, panels);
  const Ring<T, W> masked(scratch, 2, hidden, panels);
  const State<T, W> carried = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const State<T, W> mask = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  T* memory = scratch.take<T>(2 * links);
  int64_t* first_link = scratch.take<int64_t>(a.depth + 1);
  T* bias_sums = scratch.take<T>(a.depth * G * hidden * L);
  T* tiles = scratch.take<T>(threads * kTile);
  first_link[0] = 0;
  for (int64_t l = 0; l < a.depth; ++l) first_link[l + 1] = first_link[l] + a.levels[l].w.nnz();

  run_team(threads, [&](const Team& team) {
    T *tile = tiles + team.rank * kTile, *dy_tile = tile + S * kGateTile<W>;
    // The level behind l, from which the gradient comes, and the units for which l takes it.
    const auto behind = [&](int64_t l) { return (l + 1) % a.depth; };
    const auto units_of_level = [&](int64_t l) {
      return rows_of(a.levels[behind(l)].wt, team.rank, team.size, kBlock);
    };
    const auto back_from = [&](int64_t l) {
      return Back(a.levels[l].wt, a.levels[l].permutation,
                  a.dvalues ? a.dvalues + first_link[l] : nullptr, memory + 2 * first_link[l]);
    };
    // sums[0 .. L) of row `row` of level l
    const auto sums_of_bias = [&](int64_t l, int64_t row) {
      return bias_sums + (l * G * hidden + row) * L;
    };
    for (int64_t l = 0; l < a.depth; ++l) {
      const Rows units = units_of_level(l);
      back_from(behind(l)).start(team, a.levels[behind(l)].values, units);
      for (int g = 0; g < G; ++g)
        std::fill(sums_of_bias(l, g * hidden + units.first),
                  sums_of_bias(l, g * hidden + units.last), T(0));
    }
    seq.tiles(units_of_level(a.depth - 1), [&](int64_t q, int64_t first, int count) {
      std::fill(carried.row(q, first), carried.row(q, first + count), T(0));
      read_mask(seq, a.mask, mask, q, first, count);
    });
    team.barrier();

    // The gradient of a state, from that of u one level further on.
    const auto gradient_of_state = [&](Visits& visit, int64_t k, int64_t q, int64_t unit,
                                       Vec<T, L>(&ds)[NV]) {
      for (int v = 0; v < NV; ++v) ds[v] = Vec<T, L>{};
      if (k <= last) visit(ds, unit, du.at(k).panel(q), masked.at(k).row(q, unit));
      for (int v = 0; v < NV; ++v)
        ds[v] = ds[v] * load<T, L>(mask.row(q, unit) + v * L) +
                load<T, L>(carried.row(q, unit) + v * L);
    };

    for (int64_t k = last; k >= 0; --k) {
      const int64_t t = k / a.depth, l = k % a.depth;
      const bool is_output = l + 1 == a.depth;
      const Back back = back_from(behind(l));
      seq.tiles(units_of_level(l), [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        for (int i = 0; i < S; ++i)
          read_tile<T, W>(seq.step(a.saved, S * hidden, k, q), i * hidden + first, count, columns,
                          tile + i * kGateTile<W>);
        if (is_output)
          read_tile<T, W>(seq.step(a.dy, hidden, t, q), first, count, columns, dy_tile);
        Visits visit(back, first);
        for (int r = 0; r < count; ++r) {
          const int64_t unit = first + r;
          Vec<T, L> ds[NV], over_batch[G];
          gradient_of_state(visit, k + 1, q, unit, ds);
          for (int g = 0; g < G; ++g)
            over_batch[g] = load<T, L>(sums_of_bias(l, g * hidden + unit));
          for (int v = 0; v < NV; ++v) {
            T* at = tile + r * W + v * L;
            Vec<T, L> saved[S], of_u[G];
            for (int i = 0; i < S; ++i) saved[i] = load<T, L>(at + i * kGateTile<W>);
            if (is_output) ds[v] += load<T, L>(dy_tile + r * W + v * L);
            store<T, L>(carried.row(q, unit) + v * L,
                        Cell::template backward<T, L>(saved, ds[v], of_u));
            store<T, L>(masked.at(k).row(q, unit) + v * L,
                        saved[G] * load<T, L>(mask.row(q, unit) + v * L));
            for (int g = 0; g < G; ++g) {
              store<T, L>(du.at(k).row(q, g * hidden + unit) + v * L, of_u[g]);
              store<T, L>(at + g * kGateTile<W>, of_u[g]);
              over_batch[g] += of_u[g];
            }
          }
          for (int g = 0; g < G; ++g)
            store<T, L>(sums_of_bias(l, g * hidden + unit), over_batch[g]);
        }
        if (a.dx && l < a.fed)
          for (int g = 0; g < G; ++g)
            write_tile<T, W>(tile + g * kGateTile<W>, seq.step(a.dx, G * hidden, t * a.fed + l, q),
                             g * hidden + first, count, columns);
      });
      team.barrier();
    }
    for (int64_t l = 0; l < a.depth; ++l) {
      const Rows units = units_of_level(l);
      for (int g = 0; g < G; ++g)
        for (int64_t row = g * hidden + units.first; row < g * hidden + units.last; ++row)
          a.dbias[l * G * hidden + row] = sum_of_lanes<T, L>(load<T, L>(sums_of_bias(l, row)));
    }
    const Back back = back_from(0);
    seq.tiles(units_of_level(a.depth - 1), [&](int64_t q, int64_t first, int count) {
      Visits visit(back, first);
      for (int r = 0; r < count; ++r) {
        Vec<T, L> ds[NV];
        gradient_of_state(visit, 0, q, first + r, ds);
        for (int v = 0; v < NV; ++v) store<T, L>(dy_tile + r * W + v * L, ds[v]);
      }
      if (a.ds0)
        write_tile<T, W>(dy_tile, seq.step(a.ds0, hidden, 0, q), first, count, seq.columns(q));
    });
    for (int64_t l = 0; l < a.depth; ++l) back_from(behind(l)).finish(units_of_level(l));
  });
}

// Calls body(Int<lanes>, Int<vectors>, cell) for the batch and the number of blocks.
template <typename T, class Args, class Body>
inline void with_cell(const Args& a, const Panels& panels, const Body& body) {
  with_width<T>(panels, [&](auto lanes, auto vectors) {
    if (a.levels[0].w.rows == 2 * a.levels[0].w.cols)
      body(lanes, vectors, Highway<true>());
    else
      body(lanes, vectors, Highway<false>());
  });
}

}  // namespace

template <class Isa, typename T>
void rhn_forward(const RhnForward<T>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_cell<T>(a, panels, [&](auto lanes, auto vectors, auto cell) {
    forward_loop<T, decltype(lanes)::value, decltype(vectors)::value, decltype(cell)>(a,
                                                                                      panels.count);
  });
}

template <class Isa, typename T>
void rhn_backward(const RhnBackward<T>& a) {
  const Panels panels = panels_of<T>(a.batch);
  with_cell<T>(a, panels, [&](auto lanes, auto vectors, auto cell) {
    backward_loop<T, decltype(lanes)::value, decltype(vectors)::value, decltype(cell)>(
        a, panels.count);
  });
}

template void rhn_forward<SPARSE_ENGINE_ISA, float>(const RhnForward<float>&);
template void rhn_forward<SPARSE_ENGINE_ISA, double>(const RhnForward<double>&);
template void rhn_backward<SPARSE_ENGINE_ISA, float>(const RhnBackward<float>&);
template void rhn_backward<SPARSE_ENGINE_ISA, double>(const RhnBackward<double>&);

}  // namespace sparse_engine
