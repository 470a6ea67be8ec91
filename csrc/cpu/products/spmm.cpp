#include "sparse_engine/spmm.h"

#include "products/row_groups.h"
#include "runtime/in_range.h"
#include "runtime/links.h"
#include "runtime/memory.h"
#include "runtime/panel.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {
namespace {

// One panel of Y = W X + b.
template <typename T, typename A>
struct Panel {
  const A* x;
  Dense<A> y;
  int columns;
  bool first;
};

// Rows [rows.first, rows.last) of a panel, with `tile` to work with. Returns false, with rows left
// out or wrong, where their links lead out of their arrays, which is found at the first panel.
template <typename T, int L, int NV, typename A>
bool multiply(const Spmm<T, A>& a, const typename GroupedProduct<T, L, NV>::Share& product,
              const Rows& rows, const Panel<T, A>& panel, T* tile) {
  constexpr int W = L * NV;
  const Dense<A>& y = panel.y;
  const int columns = panel.columns;
  const bool in_place = y.column_stride == 1 && columns == W;
  for (int64_t first = rows.first; first < rows.last; first += kTileRows) {
    const int count = static_cast<int>(std::min<int64_t>(kTileRows, rows.last - first));
    if (panel.first && !rows_in_range(a.w, first, count)) return false;
    if constexpr (W == 1) {
      for (int r = 0; r < count; ++r) tile[r] = a.bias ? a.bias[first + r] : T(0);
      product.rows(first, count, panel.x, tile);
      write_tile<T, W>(tile, y, first, count, columns);
      continue;
    }
    for (int r = 0; r < count; ++r) {
      Vec<T, L> sum[NV];
      for (int v = 0; v < NV; ++v) sum[v] = Vec<T, L>{} + (a.bias ? a.bias[first + r] : T(0));
      product(sum, first + r, panel.x);
      for (int v = 0; v < NV; ++v)
        if (in_place)
          store<T, L>(y.at(first + r, v * L), sum[v]);
        else
          store<T, L>(tile + r * W + v * L, sum[v]);
    }
    if (!in_place) write_tile<T, W>(tile, y, first, count, columns);
  }
  return true;
}

// Y = W X + b, panel by panel. Permuted values are brought into order first.
template <typename T, int L, int NV, typename A>
void multiply_panels(const Spmm<T, A>& a, int64_t panels) {
  constexpr int W = L * NV;
  using Product = GroupedProduct<T, L, NV>;
  const bool packed = !is_panel<W>(a.x, a.columns);
  const int64_t panel_size = packed ? a.w.cols * W : 0;
  const Job job = job_of_region(a.threads, (a.w.nnz() + a.w.rows) * a.columns);
  const typename Product::Use use{panels, job.threads};
  const int64_t permuted = a.permutation ? a.w.nnz() : 0;
  Scratch scratch(2 * Scratch::bytes_of<A>(panel_size) + Scratch::bytes_of<T>(permuted) +
                  Scratch::bytes_of<T>(job.threads * kTileRows * W) +
                  Product::template bytes<A>(a.w, use));
  A* panel[2] = {scratch.take<A>(panel_size), scratch.take<A>(panel_size)};
  T* tiles = scratch.take<T>(job.threads * kTileRows * W);
  T* in_order = scratch.take<T>(permuted);
  const T* values = a.permutation ? in_order : a.values;
  const Product w = Product::template make<A>({a.w, values, prefetch_of<A, W>(a.w)}, use, scratch);

  run_team(job, [&](const Team& team) {
    T* tile = tiles + team.rank * kTileRows * W;
    const Rows rows = rows_of(a.w, team.rank, team.size, kBlock);
    bool fine = true;
    if (a.permutation) {
      fine = permute_share(team, a.values, a.permutation, a.w, in_order);
      team.barrier();
    }
    const typename Product::Share product(w, team.rank, rows);
    fine = fine && product.fine();
    // Two panels take turns, so that one barrier is enough: by the time a panel is overwritten,
    // everybody has passed the barrier behind its last use.
    for (int64_t q = 0; q < panels; ++q) {
      const int columns = static_cast<int>(std::min<int64_t>(W, a.columns - q * W));
      const A* x = a.x.data;
      if (packed) {
        pack<T, W>(team, from_column(a.x, q * W), a.w.cols, columns, panel[q % 2]);
        team.barrier();
        x = panel[q % 2];
      }
      if (fine)
        fine = multiply<T, L, NV>(a, product, rows, {x, from_column(a.y, q * W), columns, q == 0},
                                  tile);
    }
    if (!fine) report(a.out_of_range);
  });
}

}  // namespace

template <class Isa, typename T, typename A>
void spmm(const Spmm<T, A>& a) {
  if (a.columns == 0 || a.w.rows == 0) return;
  with_panels<T, A>(a.columns, [&](auto lanes, auto vectors, int64_t panels) {
    multiply_panels<T, decltype(lanes)::value, decltype(vectors)::value>(a, panels);
  });
}

template void spmm<SPARSE_ENGINE_ISA>(const Spmm<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
