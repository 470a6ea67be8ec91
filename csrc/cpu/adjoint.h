// The way back through a matrix, row by row of its transpose: the gradient of what it multiplied
// and that of its links. One visit to a link, and one load of the row of the panel that it reads,
// gives both.
#pragma once

#include "dot.h"
#include "link_sums.h"
#include "row_product.h"
#include "sequence.h"

namespace sparse_engine {
namespace {

// Of W [rows x cols]; panels of its rows' gradients are kept as A.
template <typename T, int L, int NV, typename A = T>
class Adjoint {
  static constexpr int W = L * NV;
  using Held = HeldRow<T, L, NV, A>;

 public:
  static size_t bytes(const Csr& wt) { return 2 * Scratch::bytes_of<T>(wt.nnz()); }

  // Link p of wt is link permutation[p] of W. `gradient` is that of W's links, or null (not
  // wanted).
  Adjoint(const Csr& wt, const int32_t* permutation, T* gradient, Scratch& scratch)
      : wt_(wt),
        permutation_(permutation),
        written_(gradient),
        values_(scratch.take<T>(wt.nnz())),
        gradient_(scratch.take<T>(wt.nnz())),
        ahead_(ahead_of<A, W>(wt)),
        product_{wt_, {values_}, ahead_} {}

  // Of this team member, which visits `rows` of the transpose. A barrier must follow.
  void start(const Team& team, const T* values, const Rows& rows) const {
    permute_share(team, values, permutation_, wt_, values_);
    if (written_) std::fill(of_row(rows.first), of_row(rows.last), T(0));
  }

  // sum += W[:, row] X
  SE_INLINE void operator()(Vec<T, L> (&sum)[NV], int64_t row, const A* x) const {
    product_(sum, row, x);
  }

  // Visits to rows that follow each other.
  class Visit {
   public:
    Visit(const Adjoint& of, int64_t row) : of_(of), sums_(of.of_row(row)) {}
    ~Visit() {
      if (of_.written_) sums_.finish();
    }

    // The same, and the gradient of the row's links += X . held, where `held` is a row of a panel.
    SE_INLINE void operator()(Vec<T, L> (&sum)[NV], int64_t row, const A* x, const A* held) {
      if (of_.written_)
        of_.both(sum, row, x, held, sums_);
      else
        of_(sum, row, x);
    }

   private:
    const Adjoint& of_;
    LinkSums<T, Held::kLanes> sums_;
  };

  // Writes the gradient of the links of `rows`, all of whose visits are over.
  void finish(const Rows& rows) const {
    if (written_ == nullptr) return;
    for (int64_t p = wt_.ptr[rows.first]; p < wt_.ptr[rows.last]; ++p)
      written_[permutation_[p]] = gradient_[p];
  }

 private:
  T* of_row(int64_t row) const { return gradient_ + wt_.ptr[row]; }

  SE_INLINE void both(Vec<T, L> (&sum)[NV], int64_t row, const A* x, const A* held_row,
                      LinkSums<T, Held::kLanes>& link_sums) const {
    const int64_t first = wt_.ptr[row], n = wt_.ptr[row + 1] - first;
    const int32_t *idx = wt_.idx + first, *last = last_link(wt_);
    const T* values = values_ + first;
    Held held;
    held.load(held_row);
    Vec<T, L> other[NV] = {};
    link_sums.row(n, [&](int64_t i, int odd) SE_INLINE_LAMBDA {
      const A* from = x + static_cast<int64_t>(idx[i]) * W;
      if (ahead_.rows) fetch_row<W>(idx + i + kLinksAhead, last, x);
      if (ahead_.links && i % 8 == 0) {
        fetch_stream(idx, i);
        fetch_stream(values, i);
        fetch_stream(of_row(row), i);
      }
      add_link<T, L, NV>(odd ? other : sum, values[i], idx[i], x);
      typename Held::Sums products = {};
      held.add_products(from, products);
      return products;
    });
    for (int v = 0; v < NV; ++v) sum[v] += other[v];
  }

  const Csr& wt_;
  const int32_t* permutation_;
  T* const written_;
  T *const values_, *const gradient_;
  const Ahead ahead_;
  const RowProduct<T, L, NV> product_;
};

}  // namespace
}  // namespace sparse_engine
