// Sums over the links of each row of W, for each column of a panel. The unit of work is an item: a
// row, or a piece of a long one, and a panel (lanes.cuh).
//
// What is added up is a class of
//   kSums: how many sums a row has, per column;
//   kInFlight: links whose numbers a lane loads before it adds any of them up;
//   of<V>(row, panel, column): for V columns from `column` on, an object with
//     load(link, source): what a link's terms need;
//     add(loaded, sums): adds its terms.
//
// A unit has R rows. finish(unit, n, sums) takes all of its sums, of one column n.
#pragma once

#include "products/lanes.cuh"
#include "products/pieces.cuh"
#include "runtime/panel.cuh"

namespace sparse_engine::cuda {
namespace {

// Adds up the terms of some links. Each of `slots` lanes has kInFlight neighbouring links at a
// time: it loads what all of them need before it adds anything. In the last batch of a row, links
// that do not exist are loaded as one that does, and not added.
template <int V, typename T, class Of, int S, int K>
__device__ void add_links(const Of& of, const Lane& lane, const int32_t* idx, const Links& links,
                          std::integral_constant<int, K>, T (&sums)[S][V]) {
  const int count = static_cast<int>(links.last - links.first);
  const auto batch = [&](int at, auto is_full) {
    constexpr bool kFull = decltype(is_full)::value;
    const auto exists = [&](int k) { return kFull || at + k < count; };
    decltype(of.load(0, 0)) loaded[K];
    int link[K], source[K];
#pragma unroll
    for (int k = 0; k < K; ++k) link[k] = exists(k) ? at + k : at;
#pragma unroll
    for (int k = 0; k < K; ++k) source[k] = idx[links.first + link[k]];
#pragma unroll
    for (int k = 0; k < K; ++k) loaded[k] = of.load(links.first + link[k], source[k]);
#pragma unroll
    for (int k = 0; k < K; ++k)
      if (exists(k)) of.add(loaded[k], sums);
  };
  int at = lane.slot * K;
#pragma unroll 1
  for (; at + K <= count; at += lane.slots * K) batch(at, std::true_type());
  if (at < count && K > 1) batch(at, std::false_type());
}

// The first so many panels of a product, and for how many of them there is something to add up: the
// sums of the others are zero.
struct Extent {
  int panels, filled;
};

template <typename T>
struct RowSums {
  Csr w;  // rows = R * units; rows r, r + units, .. belong to unit r
  Pieces pieces;
  Lanes lanes;
  T* partial;  // [panels, places, kSums, width], sums of pieces
  int64_t units, panels;
  int width;
  // Where X fits the second-level cache, the panels of a unit follow each other, so that its links
  // are read once for all of them. Otherwise panel after panel.
  bool unit_by_unit;

  __device__ bool has_second_phase() const { return pieces.count() > 0; }
  // Those that may be needed.
  int64_t phases() const { return pieces.places > 0 ? 2 : 1; }

  // The sums of all columns of a panel over some links, shared out among the lanes of a group. All
  // lanes of the warp call it.
  template <int V, class Terms>
  __device__ void sum_links(const Terms& terms, const Lane& lane, const Exchange<V>& exchange,
                            const Links& links, int64_t row, int panel,
                            T (&sums)[Terms::kSums][V]) const {
    add_links<V>(terms.template of<V>(row, panel, lane.column), lane, w.idx, links,
                 std::integral_constant<int, Terms::kInFlight>(), sums);
#pragma unroll
    for (int i = 0; i < Terms::kSums; ++i) exchange.add(sums[i]);
  }

  __device__ T& partial_of(int64_t piece, int i, int sums, Column n) const {
    return partial[((n.panel * pieces.places + piece) * sums + i) * width + n.at];
  }

  // take(n, sums) for each column that this lane has of `sums`, which it uses up.
  template <int V, int S, class Take>
  static __device__ void each_column(const Lane& lane, const Exchange<V>& exchange, int panel,
                                     T (&sums)[S][V], const Take& take) {
    if (!exchange.alone) return;
#pragma unroll 1
    for (int i = 0; i < exchange.count; ++i) {
      T own[S];
#pragma unroll
      for (int s = 0; s < S; ++s) {
        own[s] = sums[s][0];
#pragma unroll
        for (int v = 1; v < V; ++v) sums[s][v - 1] = sums[s][v];
      }
      take(Column{panel, lane.column + exchange.first + i}, own);
    }
  }

  template <int R>
  __device__ bool has_long_row(int64_t unit) const {
    for (int r = 0; r < R; ++r)
      if (pieces.is_long(w, r * units + unit)) return true;
    return false;
  }

  // The R * kSums sums of a unit's rows, apart from those that are long.
  template <int V, int R, class Terms>
  __device__ void sum_unit(const Terms& terms, const Lane& lane, const Exchange<V>& exchange,
                           int64_t unit, int panel, bool adds,
                           T (&sums)[R * Terms::kSums][V]) const {
    constexpr int S = Terms::kSums;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const int64_t row = r * units + unit;
      T of_row[S][V] = {};
      sum_links<V>(terms, lane, exchange, adds ? pieces.of_row(w, row) : Links{0, 0}, row, panel,
                   of_row);
#pragma unroll
      for (int i = 0; i < S; ++i)
#pragma unroll
        for (int v = 0; v < V; ++v) sums[r * S + i][v] = of_row[i][v];
    }
  }

  // Finishes units all of whose sums are there; keeps the sums of pieces.
  template <int V, int R, class Terms, class Finish>
  __device__ void units_and_pieces(const Terms& terms, const Extent& extent,
                                   const Finish& finish) const {
    constexpr int S = Terms::kSums, N = R * S;
    const Lane lane(lanes, V);
    const Exchange<V> exchange(lanes.group / 2, lanes.across);
    const int64_t pieces_there = pieces.count();
    for_each_item(lanes, extent.panels * units, [&](int64_t item) {
      int64_t at = item < 0 ? 0 : item;
      int panel = 0;
      if (extent.panels > 1) {  // which saves two divisions
        const int64_t by = unit_by_unit ? extent.panels : units, quotient = at / by;
        const int64_t rest = at - quotient * by;
        panel = static_cast<int>(unit_by_unit ? rest : quotient);
        at = unit_by_unit ? quotient : rest;
      }
      const bool whole = item >= 0 && !has_long_row<R>(at);
      T sums[N][V];
      sum_unit<V, R>(terms, lane, exchange, whole ? at : 0, panel, whole && panel < extent.filled,
                     sums);
      if (whole)
        each_column<V>(lane, exchange, panel, sums,
                       [&](Column n, T(&found)[N]) { finish(at, n, found); });
    });
    if (pieces_there == 0) return;
    for_each_item(lanes, extent.filled * pieces_there, [&](int64_t item) {
      const int64_t own = item < 0 ? 0 : item, piece = own % pieces_there;
      const int panel = static_cast<int>(own / pieces_there);
      T sums[S][V] = {};
      sum_links<V>(terms, lane, exchange, item < 0 ? Links{0, 0} : pieces.of_piece(w, piece),
                   pieces.row(piece), panel, sums);
      if (item >= 0)
        each_column<V>(lane, exchange, panel, sums, [&](Column n, T(&found)[S]) {
#pragma unroll
          for (int i = 0; i < S; ++i) partial_of(piece, i, S, n) = found[i];
        });
    });
  }

  // The same for the units that have a long row, after a barrier.
  template <int V, int R, class Terms, class Finish>
  __device__ void long_units(const Terms& terms, const Extent& extent, const Finish& finish) const {
    constexpr int S = Terms::kSums, N = R * S;
    const Lane lane(lanes, V);
    const Exchange<V> exchange(lanes.group / 2, lanes.across);
    const int64_t count = pieces.count();
    for_each_item(lanes, extent.panels * count, [&](int64_t item) {
      const int64_t own = item < 0 ? 0 : item, piece = own % count;
      const int panel = static_cast<int>(own / count);
      const int64_t row = pieces.row(piece), unit = row % units;
      // The first piece of the first long row of a unit stands for the unit.
      bool stands = item >= 0 && pieces.begins(w, piece);
      for (int64_t other = unit; stands && other < row; other += units)
        stands = !pieces.is_long(w, other);
      const bool adds = stands && panel < extent.filled;
      T sums[N][V];
      sum_unit<V, R>(terms, lane, exchange, unit, panel, adds, sums);
      if (!stands) return;
      each_column<V>(lane, exchange, panel, sums, [&](Column n, T(&found)[N]) {
#pragma unroll
        for (int r = 0; r < R; ++r)
          if (adds && pieces.is_long(w, r * units + unit)) {
            const int64_t links = w.ptr[r * units + unit + 1] - w.ptr[r * units + unit];
            const int64_t first = R == 1 ? piece : pieces.first_of(r * units + unit);
            for (int64_t p = first; (p - first) * pieces.most < links; ++p)
#pragma unroll
              for (int i = 0; i < S; ++i) found[r * S + i] += partial_of(p, i, S, n);
          }
        finish(unit, n, found);
      });
    });
  }

  // All sums, in two phases, the second of which is often not needed.
  template <int V, int R, class Terms, class Finish>
  __device__ void phase(int64_t phase, const Terms& terms, const Extent& extent,
                        const Finish& finish) const {
    if (phase == 0)
      units_and_pieces<V, R>(terms, extent, finish);
    else
      long_units<V, R>(terms, extent, finish);
  }

  // All panels. Without terms, all sums are zero.
  __device__ Extent extent(bool has_terms) const {
    const int all = static_cast<int>(panels);
    return {all, has_terms ? all : 0};
  }
};

// For `sums` sums per row, over panels that are kept as A.
template <typename T, typename A = T>
RowSums<T> row_sums_of(const Csr& w, const Pieces& pieces, int sums, int64_t units,
                       const Shape& shape, const Stream& stream) {
  return {w,
          pieces,
          Lanes::of(w.nnz(), w.rows, shape.width, shape.vector<A>()),
          take<T>(stream, shape.padded() * pieces.places * sums),
          units,
          shape.panels,
          shape.width,
          w.cols * shape.padded() * static_cast<int64_t>(sizeof(A)) <=
              attribute(cudaDevAttrL2CacheSize) / 2};
}

}  // namespace
}  // namespace sparse_engine::cuda
