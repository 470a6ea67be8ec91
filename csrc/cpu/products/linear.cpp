#include "sparse_engine/linear.h"

#include "products/adjoint.h"
#include "runtime/in_range.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {
namespace {

// Rows of X and of dX, of one panel.
template <typename T, typename A, int W>
struct Tiles {
  static constexpr int64_t kSize = kTileRows * W;
  A* x;
  T* dx;
};

// The `rows` of a panel of dX, from one of dY, and what their links' gradients gain by it. Returns
// false, with rows left out, where their links lead out of their arrays, which is found at the
// first panel.
template <typename T, int L, int NV, typename A>
bool visit_rows(const LinearBackward<T, A>& a, const Adjoint<T, L, NV, A>& back, const Rows& rows,
                const A* dy, int64_t panel, const Tiles<T, A, L * NV>& tiles) {
  constexpr int W = L * NV;
  const int columns = static_cast<int>(std::min<int64_t>(W, a.columns - panel * W));
  typename Adjoint<T, L, NV, A>::Visits visit(back, rows.first);
  for (int64_t first = rows.first; first < rows.last; first += kTileRows) {
    const int count = static_cast<int>(std::min<int64_t>(kTileRows, rows.last - first));
    if (panel == 0 && !rows_in_range(a.wt, first, count, a.permutation)) return false;
    read_tile<T, W>(from_column(a.x, panel * W), first, count, columns, tiles.x);
    for (int r = 0; r < count; ++r) {
      Vec<T, L> sum[NV] = {};
      visit(sum, first + r, dy, tiles.x + r * W);
      for (int v = 0; v < NV; ++v) store<T, L>(tiles.dx + r * W + v * L, sum[v]);
    }
    write_tile<T, W>(tiles.dx, from_column(a.dx, panel * W), first, count, columns);
  }
  return true;
}

// Panels of dY are gathered from, rows of X held and those of dX summed.
template <typename T, int L, int NV, typename A>
void backward(const LinearBackward<T, A>& a, int64_t panels) {
  using Back = Adjoint<T, L, NV, A>;
  constexpr int W = L * NV;
  const bool packed = !is_panel<W>(a.dy, a.columns);
  const int64_t panel_size = packed ? a.wt.cols * W : 0;
  const Job job = job_of_region(a.threads, 2 * a.wt.nnz() * a.columns);
  constexpr int64_t kTile = Tiles<T, A, W>::kSize;
  Scratch scratch(Scratch::bytes_of<T>(Back::needs(a.wt)) + 2 * Scratch::bytes_of<A>(panel_size) +
                  Scratch::bytes_of<A>(job.threads * kTile) +
                  Scratch::bytes_of<T>(job.threads * kTile));
  const Back back(a.wt, a.permutation, a.dvalues, scratch.take<T>(Back::needs(a.wt)));
  A* panel[2] = {scratch.take<A>(panel_size), scratch.take<A>(panel_size)};
  A* x_tiles = scratch.take<A>(job.threads * kTile);
  T* dx_tiles = scratch.take<T>(job.threads * kTile);

  run_team(job, [&](const Team& team) {
    const Rows rows = rows_of(a.wt, team.rank, team.size, kBlock);
    const Tiles<T, A, W> tiles{x_tiles + team.rank * kTile, dx_tiles + team.rank * kTile};
    bool fine = back.start(team, a.values, rows);
    if (!packed) team.barrier();
    // Two panels take turns, as in spmm().
    for (int64_t q = 0; q < panels; ++q) {
      const A* dy = a.dy.data;
      if (packed) {
        const int columns = static_cast<int>(std::min<int64_t>(W, a.columns - q * W));
        pack<T, W>(team, from_column(a.dy, q * W), a.wt.cols, columns, panel[q % 2]);
        team.barrier();
        dy = panel[q % 2];
      }
      if (fine) fine = visit_rows<T, L, NV>(a, back, rows, dy, q, tiles);
    }
    if (fine)
      back.finish(rows);
    else
      report(a.out_of_range);
  });
}

}  // namespace

template <class Isa, typename T, typename A>
void linear_backward(const LinearBackward<T, A>& a) {
  with_panels<T, A>(a.columns, [&](auto lanes, auto vectors, int64_t panels) {
    backward<T, decltype(lanes)::value, decltype(vectors)::value>(a, panels);
  });
}

template void linear_backward<SPARSE_ENGINE_ISA>(
    const LinearBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
