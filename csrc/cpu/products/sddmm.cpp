#include "sparse_engine/sddmm.h"

#include "products/dot.h"
#include "products/link_sums.h"
#include "runtime/in_range.h"
#include "runtime/links.h"
#include "runtime/memory.h"
#include "runtime/panel.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {
namespace {

// Columns n and those behind it that make one panel.
template <typename A>
struct Inner {
  Dense<const A> a;
  const A* b;
  int64_t n;
  int columns;
};

// Adds the dot products of the links of `rows`, over one panel of columns, to the gradient, with
// `tile` to work with. Returns false, with rows left out, where links lead out of B, which is found
// at the first panel.
template <typename T, int L, int NV, typename A>
bool sample(const Sddmm<T, A>& s, const Rows& rows, const Inner<A>& inner, A* tile) {
  constexpr int W = L * NV;
  const A* b = inner.b;
  using Held = HeldRow<T, L, NV, A>;
  const LinkPrefetch prefetch = prefetch_of<A, W>(s.w);
  LinkSums<T, Held::kLanes> sums(s.gradient + s.w.ptr[rows.first]);
  for (int64_t first = rows.first; first < rows.last; first += kTileRows) {
    const int count = static_cast<int>(std::min<int64_t>(kTileRows, rows.last - first));
    if (inner.n == 0 && !rows_in_range(s.w, first, count)) return false;
    read_tile<T, W>(inner.a, first, count, inner.columns, tile);
    for (int r = 0; r < count; ++r) {
      const int64_t begin = s.w.ptr[first + r];
      const int32_t* idx = s.w.idx + begin;
      Held row;
      row.load(tile + r * W);
      const auto fetch = [&](int64_t i, int count, bool begins) SE_INLINE_LAMBDA {
        if (begins) fetch_streams(prefetch, i, idx, s.gradient + begin);
        if (prefetch.rows > 0) fetch_rows<W>(idx, i + prefetch.rows, count, s.w.nnz() - begin, b);
      };
      sums.row(s.w.ptr[first + r + 1] - begin, fetch, [&](int64_t i, bool) SE_INLINE_LAMBDA {
        typename Held::Sums products = {};
        row.add_products(b + static_cast<int64_t>(idx[i]) * W, products);
        return products;
      });
    }
  }
  sums.finish();
  return true;
}

// At most this many vectors of a row of A stay in registers while its links are visited.
constexpr int kMostLeftVectors = 8;

// The panel of B is gathered from: it should stay in the second-level cache, yet be wide enough
// that the sums over lanes are rare. Where that cannot be, two vectors make one visit to a row.
template <typename T, typename A>
Panels next_panel(int64_t columns, int64_t features) {
  constexpr int L = kLanes<T>;
  if (columns <= L) return panels_of<T, A>(columns);
  const int64_t vector_bytes = features * L * static_cast<int64_t>(sizeof(A));
  const int64_t fitting = std::max<int64_t>(2, l2_bytes() / std::max<int64_t>(1, vector_bytes));
  const int64_t needed = (columns + L - 1) / L;
  const int64_t vectors = std::min<int64_t>({fitting, needed, kMostLeftVectors});
  return {1, L, vectors >= 8 ? 8 : vectors >= 4 || !kTwoVectors<T> ? 4 : 2};
}

template <typename T, typename A, class Body>
void with_sample_width(const Panels& panel, const Body& body) {
  if (panel.vectors == 8) return body(Int<kLanes<T>>(), Int<8>());
  with_width<T, A>(panel, body);
}

}  // namespace

template <class Isa, typename T, typename A>
void sddmm(const Sddmm<T, A>& s) {
  const int64_t nnz = s.w.nnz();
  const int64_t widest = nnz == 0 ? 0 : next_panel<T, A>(s.columns, s.w.cols).width();
  const Job job = job_of_region(s.threads, nnz * s.columns);
  Scratch scratch(2 * Scratch::bytes_of<A>(s.w.cols * widest) +
                  Scratch::bytes_of<A>(job.threads * kTileRows * widest));
  A* panel[2] = {scratch.take<A>(s.w.cols * widest), scratch.take<A>(s.w.cols * widest)};
  A* tiles = scratch.take<A>(job.threads * kTileRows * widest);
  run_team(job, [&](const Team& team) {
    const Rows rows = rows_of(s.w, team.rank, team.size, kBlock);
    if (!s.accumulate)
      std::fill(s.gradient + s.w.ptr[rows.first], s.gradient + s.w.ptr[rows.last], T(0));
    if (nnz == 0) return;
    A* tile = tiles + team.rank * kTileRows * widest;
    bool fine = true;
    int turn = 0;
    for (int64_t n = 0; n < s.columns;) {
      const Panels shape = next_panel<T, A>(s.columns - n, s.w.cols);
      const int columns = static_cast<int>(std::min<int64_t>(shape.width(), s.columns - n));
      with_sample_width<T, A>(shape, [&](auto lanes, auto vectors) {
        constexpr int L = decltype(lanes)::value, NV = decltype(vectors)::value, W = L * NV;
        const Dense<const A> b = from_column(s.b, n);
        const A* right = b.data;
        if (!is_panel<W>(b, columns)) {
          pack<T, W>(team, b, s.w.cols, columns, panel[turn]);
          team.barrier();
          right = panel[turn];
          turn = 1 - turn;
        }
        if (fine) fine = sample<T, L, NV>(s, rows, {from_column(s.a, n), right, n, columns}, tile);
      });
      n += columns;
    }
    if (!fine) report(s.out_of_range);
  });
}

template void sddmm<SPARSE_ENGINE_ISA>(const Sddmm<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
