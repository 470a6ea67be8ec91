// The backward pass through a matrix, row by row of its transpose: the gradient of what it
// multiplied and that of its links. One visit to a link, and one load of the row of the panel that
// it reads, gives both.
#pragma once

#include "products/dot.h"
#include "products/link_sums.h"
#include "products/row_product.h"

namespace sparse_engine {
namespace {

// Of W, in panels of L * NV columns that are kept as A.
template <typename T, int L, int NV, typename A = T>
class Adjoint {
  static constexpr int W = L * NV;
  using Held = HeldRow<T, L, NV, A>;
  using Sums = LinkSums<T, Held::kLanes>;

 public:
  // Numbers that it needs to work with.
  static int64_t needs(const Csr& wt, int parts = 1) { return (1 + parts) * wt.nnz(); }

  // Link p of wt is link permutation[p] of W. `gradient` is that of W's links, or null (not
  // wanted); `memory` has room for what it needs. So many `links` are visited before the same come
  // again. So many `parts` of the columns have sums of their own.
  Adjoint(const Csr& wt, const int32_t* permutation, T* gradient, T* memory, int64_t links,
          int parts = 1)
      : wt_(wt),
        permutation_(permutation),
        written_(gradient),
        values_(memory),
        gradient_(memory + wt.nnz()),
        parts_(parts),
        prefetch_(prefetch_of<A, W>(wt, links, gradient != nullptr)) {}

  Adjoint(const Csr& wt, const int32_t* permutation, T* gradient, T* memory)
      : Adjoint(wt, permutation, gradient, memory, wt.nnz()) {}

  // This member's share of the values, and the gradient of the `rows` of wt that it will visit. A
  // barrier must follow. Returns false where the permutation is not one.
  bool start(const Team& team, const T* values, const Rows& rows) const {
    for (int part = 0; written_ && part < parts_; ++part)
      std::fill(of_part(part).of_row(rows.first), of_part(part).of_row(rows.last), T(0));
    return permute_share(team, values, permutation_, wt_, values_);
  }

  // The same with the sums of one part.
  Adjoint of_part(int part) const { return Adjoint(*this, gradient_ + part * wt_.nnz()); }

  // Visits to rows of wt that follow each other, from `row` on.
  class Visits {
   public:
    Visits(const Adjoint& adjoint, int64_t row) : of_(adjoint), sums_(adjoint.of_row(row)) {}
    ~Visits() {
      if (of_.written_) sums_.finish();
    }
    Visits(const Visits&) = delete;
    Visits& operator=(const Visits&) = delete;

    // sum += Wt[row, :] X, and the gradient of the row's links += X . held, a row of a panel.
    SE_INLINE void operator()(Vec<T, L> (&sum)[NV], int64_t row, const A* x, const A* held) {
      if (of_.written_)
        of_.visit(sum, row, x, held, sums_);
      else
        RowProduct<T, L, NV>{of_.wt_, of_.values_, of_.prefetch_}(sum, row, x);
    }

   private:
    const Adjoint& of_;
    Sums sums_;
  };

  // Writes the gradient of the links of `rows`, whose visits are over.
  void finish(const Rows& rows) const {
    if (written_ == nullptr) return;
    for (int64_t p = wt_.ptr[rows.first]; p < wt_.ptr[rows.last]; ++p) {
      T sum = gradient_[p];
      for (int part = 1; part < parts_; ++part) sum += gradient_[part * wt_.nnz() + p];
      written_[permutation_[p]] = sum;
    }
  }

 private:
  Adjoint(const Adjoint& whole, T* gradient)
      : wt_(whole.wt_),
        permutation_(whole.permutation_),
        written_(whole.written_),
        values_(whole.values_),
        gradient_(gradient),
        parts_(1),
        prefetch_(whole.prefetch_) {}

  T* of_row(int64_t row) const { return gradient_ + wt_.ptr[row]; }

  SE_INLINE void visit(Vec<T, L> (&sum)[NV], int64_t row, const A* x, const A* held_row,
                       Sums& link_sums) const {
    const int64_t first = wt_.ptr[row], n = wt_.ptr[row + 1] - first;
    const int32_t* idx = wt_.idx + first;
    const T* values = values_ + first;
    T* gradient = gradient_ + first;
    if constexpr (L == 1) {
      const T held = load<T, 1>(held_row);
      sum[0] +=
          row_dot<T>(values, idx, 0, n, prefetch_.links, x,
                     [=, far = prefetch_.links](int64_t i, auto count, auto row) SE_INLINE_LAMBDA {
                       constexpr int K = sizeof row / sizeof(T);
                       if (K > 1 && far) fetch_stream(gradient, i);
                       const auto before = load_first<T, K>(gradient + i, count);
                       store_first<T, K>(gradient + i, before + held * row, count);
                     });
      return;
    }
    Held held;
    held.load(held_row);
    Vec<T, L> even[NV], odd[NV] = {};  // in registers, where those of the caller may not be
    for (int v = 0; v < NV; ++v) even[v] = sum[v];
    const auto fetch = [&](int64_t i, int count, bool begins) SE_INLINE_LAMBDA {
      if (begins) fetch_streams(prefetch_, i, idx, values, gradient);
      if (prefetch_.rows > 0) fetch_rows<W>(idx, i + prefetch_.rows, count, wt_.nnz() - first, x);
    };
    link_sums.row(n, fetch, [&](int64_t i, bool is_odd) SE_INLINE_LAMBDA {
      add_link<T, L, NV>(is_odd ? odd : even, values[i], idx[i], x);
      typename Held::Sums products = {};
      held.add_products(x + static_cast<int64_t>(idx[i]) * W, products);
      return products;
    });
    for (int v = 0; v < NV; ++v) sum[v] = even[v] + odd[v];
  }

  const Csr& wt_;
  const int32_t* const permutation_;
  T* const written_;
  T *const values_, *const gradient_;
  const int parts_;
  const LinkPrefetch prefetch_;
};

}  // namespace
}  // namespace sparse_engine
