// Products with a matrix of many links, a few rows at a time. Where a quarter of all links exist,
// neighbouring rows have many columns in common; the links of such a group are sorted by which of
// its rows have one in the same column, and then every row of X is loaded once for all of them.
#pragma once

#include <algorithm>
#include <limits>
#include <utility>

#include "products/row_product.h"
#include "runtime/memory.h"

namespace sparse_engine {
namespace {

// The sums of a group have to stay in registers.
template <int NV>
constexpr int kGroupRows = kVectorBytes == 64 || NV <= 3 ? 4 : 2;

constexpr uint32_t kRowsOfKind[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};

// The links of groups of R rows of a matrix. A column is of the kind whose bit r says that row r
// of the group has a link there. The columns of a group are sorted by kind, then by number; the
// values follow in the same order, those of one column by row.
template <typename T, int R>
class LinkGroups {
 public:
  static constexpr int kKinds = 1 << R;
  using Column = uint16_t;

  // Whether so many products with panels of width W repay sorting the links.
  template <typename A, int W>
  static bool repaid(const Csr& w, int64_t products) {
    constexpr int64_t kColumns = 480, kLinksPerRow = 64, kOneIn = 4;
    return W > 1 && products * W >= kColumns && w.nnz() >= w.rows * kLinksPerRow &&
           w.nnz() * kOneIn >= w.rows * w.cols && !fills_l2<A, W>(w.cols) &&
           w.cols <= std::numeric_limits<Column>::max();
  }

  // What is to be known of a column while a group is sorted: its kind, and where its next value
  // goes.
  union OfColumn {
    uint32_t kind, value;
  };

  // None.
  explicit LinkGroups(const Csr& w) : w_(w) {}

  // Bytes for `members` that sort links of `w`.
  static size_t bytes(const Csr& w, int members) {
    return Scratch::bytes_of<Column>(w.nnz()) + Scratch::bytes_of<T>(w.nnz()) +
           Scratch::bytes_of<int32_t>((w.rows / R + 1) * kKinds) +
           Scratch::bytes_of<OfColumn>(members * w.cols) +
           Scratch::bytes_of<Column>(members * w.cols);
  }

  LinkGroups(const Csr& w, int members, Scratch& scratch)
      : w_(w),
        columns_(scratch.take<Column>(w.nnz())),
        values_(scratch.take<T>(w.nnz())),
        counts_(scratch.take<int32_t>((w.rows / R + 1) * kKinds)),
        of_columns_(scratch.take<OfColumn>(members * w.cols)),
        sorted_(scratch.take<Column>(members * w.cols)) {}

  // Sorts the links of the group that begins with `row`; they may be followed.
  template <class Values>
  void sort(int64_t row, const Values& values, int member) const {
    OfColumn* of_column = of_columns_ + member * w_.cols;
    std::fill(of_column, of_column + w_.cols, OfColumn{});
    bool increasing = true;
    for (int r = 0; r < R; ++r) {
      const int64_t first = w_.ptr[row + r], last = w_.ptr[row + r + 1];
      for (int64_t p = first; p < last; ++p) of_column[w_.idx[p]].kind |= 1u << r;
      int not_in_order = 0;
      for (int64_t p = first + 1; p < last; ++p) not_in_order |= w_.idx[p - 1] >= w_.idx[p];
      increasing = increasing && !not_in_order;
    }
    if (increasing)
      sort(row, values, of_column, sorted_ + member * w_.cols);
    else
      keep_apart(row, values);
  }

  const Column* columns(int64_t row) const { return columns_ + place(row); }
  const T* values(int64_t row) const { return values_ + place(row); }
  // How many columns of each kind the group that begins with `row` has.
  int32_t* counts(int64_t row) const { return counts_ + row / R * kKinds; }

 private:
  // `w` may be some rows of a matrix, whose links do not begin at 0.
  int64_t place(int64_t row) const { return w_.ptr[row] - w_.ptr[0]; }

  // Without branches, since kinds follow each other at random. Columns without links come last, and
  // are left out.
  template <class Values>
  void sort(int64_t row, const Values& values, OfColumn* of_column, Column* sorted) const {
    int32_t count[2][kKinds] = {};  // two, since neighbours are often of one kind
    for (int64_t column = 0; column < w_.cols; ++column)
      ++count[column % 2][of_column[column].kind];
    struct Next {
      uint32_t column, value;
    } next[kKinds], end{0, 0};
    for (int kind = 1; kind <= kKinds; ++kind) {
      const int k = kind % kKinds, of_kind = count[0][k] + count[1][k];
      counts(row)[k] = of_kind;
      next[k] = end;
      end.column += of_kind;
      end.value += of_kind * kRowsOfKind[k];
    }
    for (int64_t column = 0; column < w_.cols; ++column) {
      const uint32_t kind = of_column[column].kind;
      const Next to = next[kind];
      sorted[to.column] = static_cast<Column>(column);
      of_column[column].value = to.value;
      next[kind] = {to.column + 1, to.value + kRowsOfKind[kind]};
    }
    std::copy(sorted, sorted + (w_.cols - counts(row)[0]), columns_ + place(row));
    T* to_value = values_ + place(row);
    for (int64_t p = w_.ptr[row]; p < w_.ptr[row + R]; ++p)
      to_value[of_column[w_.idx[p]].value++] = values[p];
  }

  // Rows in any other order.
  template <class Values>
  void keep_apart(int64_t row, const Values& values) const {
    int32_t* count = counts(row);
    std::fill(count, count + kKinds, 0);
    for (int r = 0; r < R; ++r) {
      count[1 << r] = static_cast<int32_t>(w_.ptr[row + r + 1] - w_.ptr[row + r]);
      for (int64_t p = w_.ptr[row + r]; p < w_.ptr[row + r + 1]; ++p) {
        columns_[p - w_.ptr[0]] = static_cast<Column>(w_.idx[p]);
        values_[p - w_.ptr[0]] = values[p];
      }
    }
  }

  const Csr& w_;
  Column* const columns_ = nullptr;
  T* const values_ = nullptr;
  int32_t* const counts_ = nullptr;
  OfColumn* const of_columns_ = nullptr;
  Column* const sorted_ = nullptr;
};

// sum[r] += the products of the rows of `Kind` with the next column's row of X.
template <unsigned Kind, int R, typename T, int L, int NV, typename A>
SE_INLINE void add_column(Vec<T, L> (&sum)[R][NV], const T* values, int32_t column, const A* x) {
  Vec<T, L> x_row[NV];
  load_row<T, L>(x + static_cast<int64_t>(column) * (L * NV), x_row);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    if (!(Kind >> r & 1)) continue;
    const T value = values[kRowsOfKind[Kind & ((1u << r) - 1)]];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) sum[r][v] += value * x_row[v];
  }
}

// The same for all `count` columns of a kind. Kinds of few rows have two columns in flight, each
// with sums of its own.
template <unsigned Kind, int R, typename T, int L, int NV, typename Column, typename A>
SE_INLINE void add_kind(Vec<T, L> (&sum)[R][NV], const Column*& columns, const T*& values,
                        int64_t count, bool far, const A* x) {
  constexpr int kRows = kRowsOfKind[Kind];
  int64_t p = 0;
  if constexpr (2 * kRows <= R) {
    Vec<T, L> other[R][NV] = {};
    for (; p + 2 <= count; p += 2) {
      if (far) {
        fetch_stream(columns, p);
        fetch_stream(values, p * kRows);
      }
      add_column<Kind, R, T, L, NV>(sum, values + p * kRows, columns[p], x);
      add_column<Kind, R, T, L, NV>(other, values + (p + 1) * kRows, columns[p + 1], x);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      if (!(Kind >> r & 1)) continue;
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] += other[r][v];
    }
  }
  for (; p < count; ++p) {
    if (far) {
      fetch_stream(columns, p);
      fetch_stream(values, p * kRows);
    }
    add_column<Kind, R, T, L, NV>(sum, values + p * kRows, columns[p], x);
  }
  columns += count;
  values += count * kRows;
}

template <int R, typename T, int L, int NV, typename Column, typename A, size_t... Kinds>
SE_INLINE void add_kinds(Vec<T, L> (&sum)[R][NV], const int32_t* counts, const Column* columns,
                         const T* values, bool far, const A* x, std::index_sequence<Kinds...>) {
  (add_kind<Kinds + 1, R, T, L, NV>(sum, columns, values, counts[Kinds + 1], far, x), ...);
}

// out = the rows of a group times X, [R, L * NV].
template <int R, typename T, int L, int NV, typename Column, typename A>
SE_NOINLINE void group_product(const int32_t* counts, const Column* columns, const T* values,
                               bool far, const A* x, T* out) {
  Vec<T, L> sum[R][NV] = {};
  add_kinds<R, T, L, NV>(sum, counts, columns, values, far, x,
                         std::make_index_sequence<(1 << R) - 1>());
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < NV; ++v) store<T, L>(out + (r * NV + v) * L, sum[r][v]);
}

// A matrix that is multiplied row by row, by members of a team who own `gates` rows of each of
// their units. Where it repays sorting their links, the products of a group are taken when its
// first row is asked for, and kept until the others are.
template <typename T, int L, int NV, class Values = InOrder<T>>
class GroupedProduct {
  static constexpr int W = L * NV, R = kGroupRows<NV>;
  using Groups = LinkGroups<T, R>;

 public:
  // How often W will be multiplied by a panel, and by whom.
  struct Use {
    int64_t products;
    int members;
    int gates = 1;
  };

  template <typename A>
  static size_t bytes(const Csr& w, const Use& use) {
    if (!Groups::template repaid<A, W>(w, use.products)) return 0;
    return Groups::bytes(w, use.members) + Scratch::bytes_of<T>(use.members * use.gates * R * W);
  }

  // For panels that are kept as A.
  template <typename A>
  static GroupedProduct make(const RowProduct<T, L, NV, Values>& rows, const Use& use,
                             Scratch& scratch) {
    const bool grouped = Groups::template repaid<A, W>(rows.w, use.products);
    return GroupedProduct(rows, use, grouped, scratch);
  }

  // A member's units.
  class Share {
   public:
    Share(const GroupedProduct& of, int member, const Rows& units)
        : of_(of),
          rows_(of.rows_),
          units_of_gate_(of.rows_.w.rows / of.use_.gates),
          units_(units),
          kept_(of.kept_ + member * of.use_.gates * R * W),
          grouped_end_(of.grouped_ ? units.first + (units.last - units.first) / R * R
                                   : units.first) {
      for (int gate = 0; gate < of.use_.gates && fine_; ++gate) sort(gate, member);
    }

    // Whether all links that were sorted may be followed; no product may be asked for otherwise.
    bool fine() const { return fine_; }

    // sum += W[gate * units + unit, :] X. Units are asked for in increasing order, all of them,
    // gate by gate or one after the other.
    template <typename A>
    SE_INLINE void operator()(Vec<T, L> (&sum)[NV], int64_t unit, const A* x, int gate = 0) const {
      const int64_t row = gate * units_of_gate_ + unit;
      if constexpr (L > 1) {
        if (unit < grouped_end_) {
          const int64_t r = (unit - units_.first) % R;
          T* kept = kept_ + gate * R * W;
          if (r == 0) of_.multiply(row, x, kept);
          for (int v = 0; v < NV; ++v) sum[v] += load<T, L>(kept + r * W + v * L);
          return;
        }
      }
      rows_(sum, row, x);
    }

#if defined(__AVX512VL__)
    // What RowProduct::looking() does.
    SE_INLINE void looking(Vec<T, L> (&sum)[NV], int64_t unit, const T* x, bool& fine,
                           int gate = 0) const {
      rows_.looking(sum, gate * units_of_gate_ + unit, x, fine);
    }
#endif

   private:
    void sort(int gate, int member) {
      const int64_t first = gate * units_of_gate_;
      for (int64_t unit = units_.first; unit < grouped_end_ && fine_; unit += R) {
        const int64_t row = first + unit;
        fine_ = may_follow(rows_.w, rows_.values.places(), row, row + R);
        if (fine_) of_.groups_.sort(row, rows_.values, member);
      }
    }

    const GroupedProduct& of_;
    const RowProduct<T, L, NV, Values> rows_;  // a copy: products look at it all the time
    const int64_t units_of_gate_;
    const Rows units_;
    T* const kept_;
    const int64_t grouped_end_;
    bool fine_ = true;
  };

 private:
  GroupedProduct(const RowProduct<T, L, NV, Values>& rows, const Use& use, bool grouped,
                 Scratch& scratch)
      : rows_(rows),
        use_(use),
        grouped_(grouped),
        groups_(grouped ? Groups(rows.w, use.members, scratch) : Groups(rows.w)),
        kept_(grouped ? scratch.take<T>(use.members * use.gates * R * W) : nullptr) {}

  template <typename A>
  SE_INLINE void multiply(int64_t row, const A* x, T* out) const {
    group_product<R, T, L, NV>(groups_.counts(row), groups_.columns(row), groups_.values(row),
                               rows_.ahead.links, x, out);
  }

  const RowProduct<T, L, NV, Values> rows_;
  const Use use_;
  const bool grouped_;
  const Groups groups_;
  T* const kept_;
};

}  // namespace
}  // namespace sparse_engine
