// Products with a matrix of many links, a few rows at a time. Where a quarter of all links exist,
// neighbouring rows have many columns in common; the links of such a group are sorted by which of
// its rows have one in the same column, and then every row of X is loaded once for all of them.
#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "products/row_product.h"
#include "runtime/memory.h"
#include "sparse_engine/counters.h"

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
    return products * W >= kColumns && w.nnz() >= w.rows * kLinksPerRow &&
           w.nnz() * kOneIn >= w.rows * w.cols && !fills_l2<A, W>(w.cols) &&
           w.cols <= std::numeric_limits<Column>::max();
  }

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

  // Sorts the links of the group that begins with `row`. Returns false where a column is out of
  // range. Columns are read once: those of a pattern that somebody writes to meanwhile give wrong
  // sums, but lead nowhere else.
  bool sort(int64_t row, const T* values, int member) const {
    const int64_t first = w_.ptr[row], links = w_.ptr[row + R] - first;
    Column* columns = columns_ + place(row);
    bool fine = true;
    for (int64_t i = 0; i < links; ++i) {
      const uint32_t column = static_cast<uint32_t>(w_.idx[first + i]);
      fine &= column < static_cast<uint32_t>(w_.cols);
      columns[i] = static_cast<Column>(column);
    }
    if (!fine) return false;
    OfColumn* of_column = of_columns_ + member * w_.cols;
    std::fill(of_column, of_column + w_.cols, OfColumn{});
    bool increasing = true;
    for (int r = 0; r < R; ++r) {
      const int64_t begin = w_.ptr[row + r] - first, end = w_.ptr[row + r + 1] - first;
      for (int64_t i = begin; i < end; ++i) of_column[columns[i]].kind |= 1u << r;
      for (int64_t i = begin + 1; i < end; ++i) increasing &= columns[i - 1] < columns[i];
    }
    if (increasing)
      sort_by_kind(row, values + first, of_column, sorted_ + member * w_.cols);
    else
      keep_apart(row, values + first);
    return true;
  }

  const Column* columns(int64_t row) const { return columns_ + place(row); }
  const T* values(int64_t row) const { return values_ + place(row); }
  // How many columns of each kind the group that begins with `row` has.
  int32_t* counts(int64_t row) const { return counts_ + row / R * kKinds; }

 private:
  // `w` may be some rows of a matrix, whose links do not begin at 0.
  int64_t place(int64_t row) const { return w_.ptr[row] - w_.ptr[0]; }

  // The kind of a column of the group that is being sorted, and then where its next value goes.
  union OfColumn {
    uint32_t kind, value;
  };

  // Sorts the group whose values are given and whose columns are in place, row by row. There are no
  // branches, since kinds follow each other at random. Columns without links come last, and are
  // left out.
  void sort_by_kind(int64_t row, const T* values, OfColumn* of_column, Column* sorted) const {
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
    Column* columns = columns_ + place(row);
    T* to_value = values_ + place(row);
    const int64_t links = w_.ptr[row + R] - w_.ptr[row];
    for (int64_t i = 0; i < links; ++i) to_value[of_column[columns[i]].value++] = values[i];
    std::copy(sorted, sorted + (w_.cols - counts(row)[0]), columns);
  }

  // The same for rows whose columns do not increase: each link is of its row's own kind.
  void keep_apart(int64_t row, const T* values) const {
    int32_t* count = counts(row);
    std::fill(count, count + kKinds, 0);
    for (int r = 0; r < R; ++r)
      count[1 << r] = static_cast<int32_t>(w_.ptr[row + r + 1] - w_.ptr[row + r]);
    std::copy(values, values + (w_.ptr[row + R] - w_.ptr[row]), values_ + place(row));
  }

  const Csr& w_;
  Column* const columns_;
  T* const values_;
  int32_t* const counts_;
  OfColumn* const of_columns_;
  Column* const sorted_;
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
template <typename T, int L, int NV>
class GroupedProduct {
  static constexpr int W = L * NV, R = kGroupRows<NV>;
  static constexpr bool kGroups = W > 1;
  using Groups = LinkGroups<T, R>;

 public:
  // How often W will be multiplied by a panel, and by whom.
  struct Use {
    int64_t products;
    int members;
    int gates = 1;
  };

  // Whether links are sorted where W is multiplied so often by panels that are kept as A.
  template <typename A>
  static bool groups(const Csr& w, int64_t products) {
    return kGroups && Groups::template repaid<A, W>(w, products);
  }

  template <typename A>
  static size_t bytes(const Csr& w, const Use& use) {
    if (!groups<A>(w, use.products)) return 0;
    return Groups::bytes(w, use.members) + Scratch::bytes_of<T>(use.members * use.gates * R * W);
  }

  // For panels that are kept as A.
  template <typename A>
  static GroupedProduct make(const RowProduct<T, L, NV>& rows, const Use& use, Scratch& scratch) {
    return GroupedProduct(rows, use, groups<A>(rows.w, use.products), scratch);
  }

  // A member's units.
  class Share {
   public:
    Share(const GroupedProduct& of, int member, const Rows& units)
        : of_(of),
          rows_(of.rows_),
          units_of_gate_(of.rows_.w.rows / of.use_.gates),
          units_(units),
          kept_(of.groups_ ? of.kept_ + member * of.use_.gates * R * W : nullptr),
          grouped_end_(of.groups_ ? units.first + (units.last - units.first) / R * R
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

    // Calls RowProduct::rows().
    template <typename A>
    void rows(int64_t unit, int count, const A* x, T* sums, int gate = 0) const {
      rows_.rows(gate * units_of_gate_ + unit, count, x, sums);
    }

   private:
    void sort(int gate, int member) {
      const int64_t first = gate * units_of_gate_;
      for (int64_t unit = units_.first; unit < grouped_end_ && fine_; unit += R) {
        if constexpr (kGroups) fine_ = of_.groups_->sort(first + unit, rows_.values, member);
      }
    }

    const GroupedProduct& of_;
    const RowProduct<T, L, NV> rows_;  // a copy: products look at it all the time
    const int64_t units_of_gate_;
    const Rows units_;
    T* const kept_;
    const int64_t grouped_end_;
    bool fine_ = true;
  };

 private:
  GroupedProduct(const RowProduct<T, L, NV>& rows, const Use& use, bool grouped, Scratch& scratch)
      : rows_(rows),
        use_(use),
        groups_(grouped ? std::make_optional<Groups>(rows.w, use.members, scratch) : std::nullopt),
        kept_(grouped ? scratch.take<T>(use.members * use.gates * R * W) : nullptr) {
    if (grouped) tally(counters.grouped_products);
  }

  template <typename A>
  SE_INLINE void multiply(int64_t row, const A* x, T* out) const {
    group_product<R, T, L, NV>(groups_->counts(row), groups_->columns(row), groups_->values(row),
                               rows_.prefetch.links, x, out);
  }

  const RowProduct<T, L, NV> rows_;
  const Use use_;
  const std::optional<Groups> groups_;
  T* const kept_;
};

}  // namespace
}  // namespace sparse_engine
