// Sums over links, with X in shared memory. Where rows of W share columns, each row of X comes from
// the second-level cache once for every link; here a block copies a tile, what one part of W's
// columns looks at in one panel, and takes from it all links that any of its rows have there.
// Behind a barrier, a row's sums over its parts are added, in order.
//
// Of the pattern only row pointers are added: as links are sorted by column, those of a row in one
// part lie together, and in front of those in the next.
#pragma once

#include <cmath>
#include <cstdlib>

#include "products/row_sums.cuh"

namespace sparse_engine::cuda {
namespace {

// Neighbouring parts of the columns of W; a count of 0 stands for a product that is not staged.
struct Parts {
  int count, columns;  // the last one may have fewer columns
};

// What the host knows of a product on a device, and from it, bytes to and from the second-level
// cache.
struct Traffic {
  int64_t rows, cols, links;  // of W
  int64_t panels;
  int64_t kept, summed;   // bytes of a row of a panel, of X and of sums
  int64_t processors;     // of the device
  int64_t shared_memory;  // bytes that a block can have

  // Columns whose rows of X fit a block's shared memory; as many fit the first-level cache, which
  // is made of the same memory, where nothing is staged.
  int64_t fitting() const { return shared_memory / kept; }

  // With the fewest bytes.
  Parts parts() const {
    const double fewest = std::sqrt(static_cast<double>(processors * cols * kept) /
                                    static_cast<double>(2 * rows * panels * summed));
    const int64_t least = divide_up(cols, fitting());
    const int64_t columns = divide_up(cols, std::max<int64_t>(least, std::llround(fewest)));
    return {static_cast<int>(divide_up(cols, columns)), static_cast<int>(columns)};
  }

  // Each block copies its share of the tiles, which begins and ends in the middle of
  // one, and sums are written and read.
  int64_t staged() const {
    const Parts of = parts();
    return (processors + panels * of.count) * of.columns * kept +
           2 * of.count * rows * panels * summed;
  }
  // The rows of X that links look at and that are not in the first-level cache.
  int64_t gathered() const {
    return cols <= fitting() ? 0 : links * panels * (kept - fitting() * kept / cols);
  }

  // What the second-level cache would give in the time of a barrier of the grid, about 2
  // microseconds.
  static constexpr int64_t kBarrier = 10 << 20;

  // Twice as good by this count.
  bool favours_staging() const { return gathered() > 2 * (staged() + kBarrier); }
};

// SPARSE_ENGINE_STAGED=0 or 1, for benchmarks and tests, decides for all products.
inline Parts parts_for(const Traffic& traffic) {
  if (traffic.rows == 0 || traffic.cols == 0) return {};
  const char* forced = std::getenv("SPARSE_ENGINE_STAGED");
  const bool staged = forced ? *forced == '1' : traffic.favours_staging();
  return staged ? traffic.parts() : Parts{};
}

// starts[row * count + part] is the first link of a row in a part; one more is the end of all.
__global__ void __launch_bounds__(kThreads)
    find_starts(const Csr w, const Parts parts, int64_t* starts) {
  for (int64_t i = thread_in_grid(); i <= w.rows * parts.count; i += threads_of_grid()) {
    const int64_t row = i / parts.count, column = i % parts.count * parts.columns;
    int64_t first = w.ptr[row], last = row < w.rows ? w.ptr[row + 1] : first;
    while (first < last) {
      const int64_t middle = (first + last) / 2;
      if (w.idx[middle] < column)
        first = middle + 1;
      else
        last = middle;
    }
    starts[i] = first;
  }
}

template <typename A>
struct Staged {
  using T = Computed<A>;
  // Rows that follow each other in a block's share are a strip apart, as neighbours in W often have
  // a similar number of links.
  static constexpr int kStrips = 32;

  Parts parts;
  Lanes lanes;
  const int64_t* starts;  // [rows * count + 1]
  T* partial;             // [panels, parts, rows, width]
  int strip;              // rows of one of kStrips
  int width;

  int64_t bytes() const { return static_cast<int64_t>(sizeof(A)) * parts.columns * width; }

  __device__ T* partial_of(const Csr& w, int64_t panel, int64_t part, int64_t row,
                           const Lane& lane) const {
    return partial + ((panel * parts.count + part) * w.rows + row) * width + lane.column;
  }

  // What a part of the columns looks at in a panel becomes tile [columns, width].
  template <int V>
  __device__ void copy_tile(const Panels<A>& x, int64_t panel, int part, int cols, A* tile) const {
    const int first = part * parts.columns, left = cols - first;
    const int columns = left < parts.columns ? left : parts.columns, across = lanes.across;
    const int own = static_cast<int>(threadIdx.x) / across, rows = blockDim.x / across;
    const int at = static_cast<int>(threadIdx.x) % across * V;
#pragma unroll 4
    for (int i = own; i < columns; i += rows)
      *reinterpret_cast<Vec<A, V>*>(tile + i * width + at) =
          *reinterpret_cast<const Vec<A, V>*>(x.row(panel, first + i) + at);
  }

  // The sums over the links in each part of each row, for the first `panels` panels. Blocks share
  // them out evenly, in the order of tiles. `terms` look at an X, terms.x.
  template <int V, class Terms>
  __device__ void sum_parts(const Terms& terms, const Csr& w, int panels) const {
    A* const tile = reinterpret_cast<A*>(shared_bytes);
    const Lane lane(lanes, V);
    const int warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
    const int64_t of_tile = kStrips * strip, items = panels * parts.count * of_tile;
    const int64_t last = items * (blockIdx.x + 1) / gridDim.x;
    for (int64_t at = items * blockIdx.x / gridDim.x, next; at < last; at = next) {
      const int64_t panel = at / of_tile / parts.count, begin = at / of_tile * of_tile;
      const int part = static_cast<int>(at / of_tile % parts.count);
      next = begin + of_tile < last ? begin + of_tile : last;
      __syncthreads();  // behind those who look at the tile before
      copy_tile<V>(terms.x, panel, part, static_cast<int>(w.cols), tile);
      __syncthreads();
      Terms near = terms;
      near.x = {tile - int64_t{part} * parts.columns * width, width, 0};
      const int64_t* const start = starts + part;
      T* const to = partial_of(w, panel, part, 0, lane);
      const int from = static_cast<int>(at - begin), below = static_cast<int>(next - begin);
      for_each_item(lanes, warp, warps, from, below, [&](int item) {
        const int row = item % kStrips * strip + item / kStrips;
        const bool exists = item >= 0 && row < w.rows;
        Links links = {0, 0};
        const int64_t* const own = start + int64_t{row} * parts.count;
        if (exists) links = {own[0], own[1]};
        Vec<T, V> sums[1] = {};
        sum_over_links<V>(lanes, lane, w.idx, near, links, row, panel, sums);
        if (exists && lane.writes()) store<V>(to + int64_t{row} * width, sums[0]);
      });
    }
  }

  // finish(unit, panel, column, sums) with the R sums of every unit, after a barrier.
  template <int V, int R, class Finish>
  __device__ void add_parts(const Csr& w, const Extent& extent, const Finish& finish) const {
    const Lanes each = {lanes.across, lanes.across};
    const Lane lane(each, V);
    const int64_t units = w.rows / R;
    for_each_item(each, extent.panels * units, [&](int64_t item) {
      if (item < 0) return;
      const int64_t panel = item / units, unit = item - panel * units;
      Vec<T, V> sums[R] = {};
#pragma unroll(R == 1 ? 4 : 1)
      for (int64_t part = 0; part < (panel < extent.filled ? parts.count : 0); ++part)
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const Vec<T, V> more = load<V>(partial_of(w, panel, part, r * units + unit, lane));
#pragma unroll
          for (int v = 0; v < V; ++v) sums[r].at[v] += more.at[v];
        }
      finish(unit, panel, lane.column, sums);
    });
  }
};

// Without parts, where the product is not staged.
template <typename A>
Staged<A> staged_of(const Csr& w, const Shape& shape, const Stream& stream) {
  using T = Computed<A>;
  const Parts parts = parts_for(
      {w.rows, w.cols, w.nnz(), shape.panels, shape.width * static_cast<int64_t>(sizeof(A)),
       shape.width * static_cast<int64_t>(sizeof(T)), attribute(cudaDevAttrMultiProcessorCount),
       attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)});
  if (parts.count == 0) return {};
  const int64_t items = w.rows * parts.count;
  int64_t* starts = take<int64_t>(stream, items + 1);
  launch(find_starts, items + 1, stream, w, parts, starts);
  const int vector = shape.width == 1 ? 1 : kVector<A>;
  return {parts,
          Lanes::of(w.nnz(), items, shape.width, vector),
          starts,
          take<T>(stream, shape.padded() * items),
          static_cast<int>(divide_up(w.rows, Staged<A>::kStrips)),
          shape.width};
}

}  // namespace
}  // namespace sparse_engine::cuda
