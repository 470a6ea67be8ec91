#include "sparse_engine/linear.h"

#include "adjoint.h"
#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

// Panels of dY are gathered from, rows of X held and those of dX summed.
template <typename T, int L, int NV, typename A>
void backward(const LinearBackward<T, A>& a, int64_t panels) {
  using Back = Adjoint<T, L, NV, A>;
  constexpr int W = L * NV;
  const bool packed = !is_panel<W>(a.dy, a.columns);
  const int64_t panel_size = packed ? a.wt.cols * W : 0;
  Scratch scratch(Scratch::bytes_of<T>(Back::needs(a.wt)) + 2 * Scratch::bytes_of<A>(panel_size));
  const Back back(a.wt, a.permutation, a.dvalues, scratch.take<T>(Back::needs(a.wt)));
  A* panel[2] = {scratch.take<A>(panel_size), scratch.take<A>(panel_size)};

  run_team(useful_threads(a.threads, 2 * a.wt.nnz() * a.columns), [&](const Team& team) {
    const Rows rows = rows_of(a.wt, team.rank, team.size, kBlock);
    back.start(team, a.values, rows);
    if (!packed) team.barrier();
    // Two panels take turns, as in spmm().
    for (int64_t q = 0; q < panels; ++q) {
      const int columns = static_cast<int>(std::min<int64_t>(W, a.columns - q * W));
      const A* dy = a.dy.data;
      if (packed) {
        pack<T, W>(team, from_column(a.dy, q * W), a.wt.cols, columns, panel[q % 2]);
        team.barrier();
        dy = panel[q % 2];
      }
      typename Back::Visits visit(back, rows.first);
      for (int64_t first = rows.first; first < rows.last; first += kTileRows) {
        const int count = static_cast<int>(std::min<int64_t>(kTileRows, rows.last - first));
        alignas(64) A x[kTileRows * W];
        alignas(64) T dx[kTileRows * W];
        read_tile<T, W>(from_column(a.x, q * W), first, count, columns, x);
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sum[NV] = {};
          visit(sum, first + r, dy, x + r * W);
          for (int v = 0; v < NV; ++v) store<T, L>(dx + r * W + v * L, sum[v]);
        }
        write_tile<T, W>(dx, from_column(a.dx, q * W), first, count, columns);
      }
    }
    back.finish(rows);
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
