// The gradient of the state before the first step, with which every backward loop ends.
#pragma once

#include "products/adjoint.h"
#include "sequences/sequence.h"

namespace sparse_engine {
namespace {

// Writes this member's `rows` of `gradient` [batch, units], where it is wanted (not null). The
// gradient of a row in panel q is what of_row(visit, q, row, sum) adds to `sum`, which is zero;
// `visit` is that of the adjoint. `tile` has room for the rows, or for kTileRows if they are more.
template <typename T, int L, int NV, typename A, typename To, class OfRow>
SE_NOINLINE void write_initial_gradient(const Adjoint<T, L, NV, A>& back,
                                        const Sequence<T, L * NV>& seq, const Rows& rows,
                                        int64_t units, T* tile, To* gradient, const OfRow& of_row) {
  constexpr int W = L * NV;
  seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
    typename Adjoint<T, L, NV, A>::Visits visit(back, first);
    for (int r = 0; r < count; ++r) {
      Vec<T, L> sum[NV] = {};
      of_row(visit, q, first + r, sum);
      store_row<T, L>(tile + r * W, sum);
    }
    if (gradient)
      write_tile<T, W>(tile, seq.step(gradient, units, 0, q), first, count, seq.columns(q));
  });
}

}  // namespace
}  // namespace sparse_engine
