// Panels: the layout in which dense matrices are multiplied.
//
// A panel holds a few columns of a features x columns matrix, row by row: element (f, n) at
// [f * W + n], with W a whole number of vectors and zeros in the columns that do not exist. One
// link then reads one contiguous run of memory. In bfloat16 a row is kept in another order
// (kept.h).
#pragma once

#include <algorithm>

#include "runtime/kept.h"
#include "runtime/memory.h"
#include "runtime/simd.h"
#include "runtime/team.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine {
namespace {

// Threads share rows in multiples of this many, so that no two of them write to one cache line.
constexpr int kBlock = 16;

// Panels are read and written in tiles of this many rows. A tile is transposed a few columns at a
// time, each of which is a sequential stream that hardware prefetchers follow; it has to be long
// for them to start, and short enough that the tile stays in cache.
constexpr int kTileRows = 256;

// How `columns` columns are cut into panels of lanes * vectors columns.
struct Panels {
  int64_t count;
  int lanes;
  int vectors;

  int width() const { return lanes * vectors; }
};

template <int N>
using Int = std::integral_constant<int, N>;

// Every width that kernels are compiled for costs build time: of float32 there are those of small
// batches and, where a vector has 8 lanes, of three vectors (two of 16 lanes are faster than three
// of 8); bfloat16, which keeps pairs of vectors (kept.h), has two vectors; and the baseline only
// has the widest. One column and four vectors are always there.
template <typename T, typename A>
constexpr bool kSmallWidths = kVectorBytes > 16 && std::is_same_v<A, float>;
template <typename T, typename A>
constexpr bool kThreeVectors = kSmallWidths<T, A> && kVectorBytes == 32;
template <typename T>
constexpr bool kOneVector = kVectorBytes > 16;
template <typename T>
constexpr bool kTwoVectors = kVectorBytes > 16 && std::is_same_v<T, float>;

// The panels for `columns` columns, computed as T and kept as A.
template <typename T, typename A>
inline Panels panels_of(int64_t columns) {
  constexpr int L = kLanes<T>;
  if (columns <= 1) return {columns, 1, 1};
  if (kSmallWidths<T, A> && columns <= 4) return {1, 4, 1};
  if (kSmallWidths<T, A> && columns <= 8) return {1, 8, 1};
  if (kThreeVectors<T, A> && columns > 16 && columns <= 24) return {1, 8, 3};
  if (kOneVector<T> && columns <= L) return {1, L, 1};
  // A visit to a link costs about as much as a vector.
  const auto panels = [&](int vectors) { return (columns + L * vectors - 1) / (L * vectors); };
  if (kTwoVectors<T> && 3 * panels(2) < 5 * panels(4)) return {panels(2), L, 2};
  return {panels(4), L, 4};
}

// The same columns in an even number of panels, so that each of two teams may have half of them. No
// panels where there is no such width whose sums have the same bits: a single column is summed in
// another order.
template <typename T, typename A>
inline Panels even_panels_of(int64_t columns) {
  const Panels half = panels_of<T, A>((columns + 1) / 2);
  const int64_t count = (columns + half.width() - 1) / half.width();
  return {half.lanes > 1 && count % 2 == 0 ? count : 0, half.lanes, half.vectors};
}

// Calls body(Int<lanes>, Int<vectors>) for one of the widths that kernels are compiled for.
template <typename T, typename A, class Body>
inline void with_width(const Panels& panels, const Body& body) {
  constexpr int L = kLanes<T>;
  if (panels.lanes == 1) return body(Int<1>(), Int<1>());
  if constexpr (kSmallWidths<T, A>) {
    if (panels.lanes == 4) return body(Int<4>(), Int<1>());
    if constexpr (kThreeVectors<T, A>)
      if (panels.vectors == 3) return body(Int<8>(), Int<3>());
    if constexpr (L > 8)
      if (panels.lanes == 8) return body(Int<8>(), Int<1>());
  }
  if constexpr (kOneVector<T>)
    if (panels.vectors == 1) return body(Int<L>(), Int<1>());
  if constexpr (kTwoVectors<T>)
    if (panels.vectors == 2) return body(Int<L>(), Int<2>());
  body(Int<L>(), Int<4>());
}

// Calls body(Int<lanes>, Int<vectors>, number of panels) for panels of `columns` columns, computed
// as T and kept as A.
template <typename T, typename A, class Body>
inline void with_panels(int64_t columns, const Body& body) {
  const Panels panels = panels_of<T, A>(columns);
  with_width<T, A>(panels, [&](auto lanes, auto vectors) { body(lanes, vectors, panels.count); });
}

// Side of the square blocks in which a panel of width W is transposed.
template <typename T, int W>
constexpr int kSide = std::min<int>(W, kShuffleBytes / sizeof(T));

// The part of read_tile for features that are neighbours in memory: square blocks are transposed.
template <typename T, int W, typename From, typename To>
inline void read_transposed(const From* from, int64_t stride, int rows, int columns, To* tile) {
  constexpr int K = kSide<T, W>, H = kPaired<To, W> ? 2 : 1;
  for (int n = 0; n < W / H; n += K) {
    int r = 0;
    for (; r + K <= rows; r += K) {
      Vec<T, K> block[H][K];
      for (int h = 0; h < H; ++h) {
        for (int k = 0; k < K; ++k) {
          const int column = n + h * (W / H) + k;
          block[h][k] = column < columns ? load<T, K>(from + column * stride + r) : Vec<T, K>{};
        }
        transpose_block<T, K>(block[h]);
      }
      for (int k = 0; k < K; ++k) {
        To* row = tile + (r + k) * W;
        if constexpr (H == 2)
          store_pair<K>(row, n, block[0][k], block[1][k]);
        else
          store<T, K>(row + n, block[0][k]);
      }
    }
    for (; r < rows; ++r)
      for (int h = 0; h < H; ++h)
        for (int k = 0; k < K; ++k) {
          const int column = n + h * (W / H) + k;
          store<T, 1>(tile + r * W + place<To, W>(column),
                      column < columns ? load<T, 1>(from + column * stride + r) : T(0));
        }
  }
}

// Row r of the tile, a panel's, is row first + r of the source, with zeros in columns >= `columns`.
template <typename T, int W, typename From, typename To>
SE_NOINLINE void read_tile(const Dense<From>& source, int64_t first, int rows, int columns,
                           To* tile) {
  const From* from = source.data + first * source.feature_stride;
  if (source.feature_stride != 1 || W == 1) {
    for (int r = 0; r < rows; ++r) {
      const From* row = from + r * source.feature_stride;
      for (int n = 0; n < W; ++n)
        store<T, 1>(tile + r * W + place<To, W>(n),
                    n < columns ? load<T, 1>(row + n * source.column_stride) : T(0));
    }
    return;
  }
  if constexpr (W > 1) read_transposed<T, W>(from, source.column_stride, rows, columns, tile);
}

// The part of write_tile for features that are neighbours in memory.
template <typename T, int W, typename From, typename To>
inline void write_transposed(const From* tile, To* to, int64_t stride, int rows, int columns) {
  constexpr int K = kSide<T, W>, H = kPaired<From, W> ? 2 : 1;
  for (int n = 0; n < std::min(columns, W / H); n += K) {
    int r = 0;
    for (; r + K <= rows; r += K) {
      Vec<T, K> block[H][K];
      for (int k = 0; k < K; ++k) {
        const From* row = tile + (r + k) * W;
        if constexpr (H == 2)
          load_pair<K>(row, n, block[0][k], block[1][k]);
        else
          block[0][k] = load<T, K>(row + n);
      }
      for (int h = 0; h < H; ++h) {
        transpose_block<T, K>(block[h]);
        for (int k = 0; k < K; ++k) {
          const int column = n + h * (W / H) + k;
          if (column < columns) store<T, K>(to + column * stride + r, block[h][k]);
        }
      }
    }
    for (; r < rows; ++r)
      for (int h = 0; h < H; ++h)
        for (int k = 0; k < K; ++k) {
          const int column = n + h * (W / H) + k;
          if (column >= columns) break;
          store<T, 1>(to + column * stride + r, load<T, 1>(tile + r * W + place<From, W>(column)));
        }
  }
}

// Row first + r of the target is row r of the tile, a panel's, in columns < `columns`.
template <typename T, int W, typename From, typename To>
SE_NOINLINE void write_tile(const From* tile, const Dense<To>& target, int64_t first, int rows,
                            int columns) {
  To* to = target.data + first * target.feature_stride;
  if (target.feature_stride != 1 || W == 1) {
    for (int r = 0; r < rows; ++r)
      for (int n = 0; n < columns; ++n)
        store<T, 1>(to + r * target.feature_stride + n * target.column_stride,
                    load<T, 1>(tile + r * W + place<From, W>(n)));
    return;
  }
  if constexpr (W > 1) write_transposed<T, W>(tile, to, target.column_stride, rows, columns);
}

// tile[r * W + n] += bias[r]
template <typename T, int L, int NV>
inline void add_to_rows(const T* bias, int rows, T* tile) {
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < NV; ++v) {
      T* at = tile + (r * NV + v) * L;
      store<T, L>(at, load<T, L>(at) + bias[r]);
    }
}

// Asks for `count` rows of X, those that the links from p on read, unless that is beyond the `end`
// of the links.
template <int W, typename A>
SE_INLINE void fetch_rows(const int32_t* idx, int64_t p, int count, int64_t end, const A* x) {
  if (p + count > end) return;
  for (int i = 0; i < count; ++i) {
    const A* row = x + static_cast<int64_t>(idx[p + i]) * W;
    for (int line = 0; line < W * static_cast<int>(sizeof(A)); line += 64)
      __builtin_prefetch(reinterpret_cast<const char*>(row) + line);
  }
}

// Whether a panel of `features` rows takes the second-level cache, or so many times as much.
template <typename A, int W>
inline bool fills_l2(int64_t features, int times = 1) {
  return features * W * static_cast<int64_t>(sizeof(A)) >= times * l2_bytes();
}

// Asks for what a stream will deliver 256 bytes after array[p]. Beyond the end that does nothing.
template <typename U>
SE_INLINE void fetch_stream(const U* array, int64_t p) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(array + p) + 256;
  __builtin_prefetch(reinterpret_cast<const void*>(at), 0, 0);
}

// How many links ahead rows of X are fetched that come from the third-level cache, and from memory.
constexpr int kNearRows = 8, kFarRows = 32;

// What a visit to all links of a matrix asks memory for before it needs it.
struct LinkPrefetch {
  int rows;    // so many links ahead, those of X that do not fit the second-level cache; or 0
  bool links;  // where they are so many that every visit reads them from far away
};

// Where X is a panel of width W, and so many links are visited before the same come again: their
// indices and values, and where they are summed, gradients, which are read and written.
template <typename A, int W>
inline LinkPrefetch prefetch_of(const Csr& w, int64_t links, bool gradients = false) {
  const int64_t bytes = links * (gradients ? 16 : 8);
  const int rows = fills_l2<A, W>(w.cols, 4) ? kFarRows : fills_l2<A, W>(w.cols) ? kNearRows : 0;
  return {rows, bytes > 2 * l2_bytes()};
}
template <typename A, int W>
inline LinkPrefetch prefetch_of(const Csr& w) {
  return prefetch_of<A, W>(w, w.nnz());
}

// Asks for streams of what links have, where `p` is the next one.
template <typename... Streams>
SE_INLINE void fetch_streams(const LinkPrefetch& prefetch, int64_t p, const Streams*... streams) {
  if (prefetch.links) (fetch_stream(streams, p), ...);
}

// Whether `source` already is a panel of width W.
template <int W, typename A>
inline bool is_panel(const Dense<A>& source, int64_t columns) {
  return !kPaired<std::remove_const_t<A>, W> && columns == W && source.feature_stride == W &&
         (W == 1 || source.column_stride == 1);
}

// Copies this team member's share of the features of `source`, `columns` <= W columns wide, into
// a panel. A barrier must follow before another member's share is read.
template <typename T, int W, typename From, typename To>
inline void pack(const Team& team, const Dense<From>& source, int64_t features, int columns,
                 To* panel) {
  const int64_t last = team.last(features, kBlock);
  for (int64_t f = team.first(features, kBlock); f < last; f += kTileRows) {
    const int rows = static_cast<int>(std::min<int64_t>(kTileRows, last - f));
    read_tile<T, W>(source, f, rows, columns, panel + f * W);
  }
}

// The same matrix from column n on.
template <typename T>
inline Dense<T> from_column(const Dense<T>& matrix, int64_t n) {
  return {matrix.data + n * matrix.column_stride, matrix.feature_stride, matrix.column_stride};
}

}  // namespace
}  // namespace sparse_engine
