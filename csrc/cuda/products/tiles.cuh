// Tiles: what one part of the columns of W looks at in one panel of X, copied to a block's shared
// memory, for all links that some rows have there. Where rows of W share columns, each row of X
// then comes from the second-level cache once for many links instead of once for every link.
//
// Cutting W into parts needs no new order of links, only further row pointers: links are sorted by
// column, so the links of a row in one part are contiguous and precede its links in the next part.
#pragma once

#include <cstdlib>

#include "products/lanes.cuh"
#include "products/pieces.cuh"
#include "runtime/panel.cuh"

namespace sparse_engine::cuda {
namespace {

// How the work is cut: W into parts of neighbouring columns, the last of which may have fewer, and
// the rows of each part into cuts, of which a block has one at a time. No parts stand for a product
// that gathers.
struct Tiling {
  int parts, columns, cuts;
};

// Sizes of a product and limits of its device, from which the host computes how long it takes, in
// bytes that the second-level cache sends meanwhile.
struct Traffic {
  int64_t rows, cols, links;  // of W
  int64_t panels;
  int64_t kept;           // bytes of a row of a panel of X
  int64_t of_row;         // bytes that a row moves beside, in each part of each panel
  bool in_turn;           // a block takes all panels in turn; otherwise one with each cut
  int64_t processors;     // of the device
  int64_t shared_memory;  // bytes that a block can have

  // Shared memory sends so many times as much. A warp's instruction, of which a multiprocessor
  // issues about three in a cycle, takes as long as so many bytes, and a barrier of the grid, about
  // 2 microseconds.
  static constexpr double kFaster = 5, kInstruction = 8, kBarrier = 10 << 20;
  // Instructions of a batch, in which each lane has kBatch links, and for each row.
  static constexpr double kOfBatch = 56, kBatch = 4, kOfRow = 80;

  // Memory is read in whole sectors of 32 bytes.
  static int64_t sectors(int64_t bytes) { return divide_up(bytes, 32) * 32; }

  // Columns whose rows of X fit a block's shared memory; as many fit the first-level cache, which
  // is made of the same memory, where nothing is staged.
  int64_t fitting() const { return shared_memory / kept; }

  // What issuing the instructions takes, with each row visited so many times in a panel.
  double issued(double visits) const {
    const double batches =
        static_cast<double>(links * std::max<int64_t>(1, kept / 16)) / (kWarp * kBatch);
    return kInstruction * static_cast<double>(panels) *
           (kOfBatch * batches + kOfRow * visits * static_cast<double>(rows));
  }

  // Times that the busiest block copies a tile.
  double tiles_of_block(const Tiling& t) const {
    const int64_t visits = in_turn ? panels : 1, cuts = t.parts * t.cuts * panels / visits;
    return static_cast<double>(visits * divide_up(cuts, processors));
  }
  // Tiles are copied, and then looked at, as if all blocks had as much to do as the busiest one.
  double staged(const Tiling& t) const {
    const double tiles = static_cast<double>(processors) * tiles_of_block(t);
    const double all = static_cast<double>(t.parts * t.cuts * panels);
    const double of_tile = static_cast<double>(t.columns * kept + rows * of_row / t.cuts);
    const double read = static_cast<double>(links * kept) / (t.parts * t.cuts) / kFaster;
    return tiles * (of_tile + std::max(read, issued(t.parts) / all));
  }

  // That which takes least time, of those with as many parts as fit or somewhat more.
  Tiling tiling() const {
    Tiling best = {};
    double least = 0;
    const int64_t fewest = divide_up(cols, fitting());
    for (int64_t parts = fewest; parts <= std::min(cols, fewest + 16); ++parts)
      for (int64_t turns = 1; turns <= 2; ++turns) {
        const int64_t tiles = in_turn ? parts : parts * panels;
        const int64_t cuts = std::clamp<int64_t>(turns * processors / tiles, 1, divide_up(rows, 8));
        const int64_t columns = divide_up(cols, parts);
        const Tiling t{static_cast<int>(divide_up(cols, columns)), static_cast<int>(columns),
                       static_cast<int>(cuts)};
        const double time = staged(t);
        if (best.parts == 0 || time < least) best = t, least = time;
      }
    return best;
  }

  // The rows of X that links look at and that are not in the first-level cache arrive while
  // instructions are issued.
  double gathered() const {
    const double missed =
        std::max(0.0, 1 - static_cast<double>(fitting()) / static_cast<double>(cols));
    return std::max(static_cast<double>(links * panels * sectors(kept)) * missed, issued(1));
  }
};

// A product is staged where that takes less than two thirds of the time; the gradient of links is
// not, until a device has shown that it pays. SPARSE_ENGINE_STAGED=0 or 1, for benchmarks and
// tests, decides for all.
inline Tiling tiling_for(const Traffic& traffic) {
  if (traffic.rows == 0 || traffic.cols == 0 || traffic.panels == 0) return {};
  const char* forced = std::getenv("SPARSE_ENGINE_STAGED");
  if (forced ? *forced != '1' : traffic.in_turn || traffic.cols <= traffic.fitting()) return {};
  const Tiling tiling = traffic.tiling();
  const double staged = traffic.staged(tiling) + Traffic::kBarrier;
  return forced || traffic.gathered() > 1.5 * staged ? tiling : Tiling{};
}

// starts[row * parts + part] is the first link of a row in a part; one more is the end of all.
__global__ void __launch_bounds__(kThreads)
    find_starts(const Csr w, const Tiling tiling, int64_t* starts) {
  for (int64_t i = thread_in_grid(); i <= w.rows * tiling.parts; i += threads_of_grid()) {
    const int64_t row = i / tiling.parts, column = i % tiling.parts * tiling.columns;
    const int64_t first = w.ptr[row], last = row < w.rows ? w.ptr[row + 1] : first;
    starts[i] = first_where(first, last, [&](int64_t p) { return w.idx[p] >= column; });
  }
}

template <typename A>
struct Tiles {
  Tiling tiling;
  Lanes lanes;            // for the links of a row in a part
  const int64_t* starts;  // [rows * parts + 1]
  int width;

  __host__ __device__ bool exist() const { return tiling.parts > 0; }
  int64_t bytes() const { return static_cast<int64_t>(sizeof(A)) * tiling.columns * width; }

  // What a part looks at in a panel, [columns, width], in the place of the tile before; as panels
  // in which it is all that is there. All threads of the block call it.
  template <int V>
  __device__ Panels<A> copy(const Panels<A>& x, int64_t panel, int part, int64_t cols) const {
    A* const tile = reinterpret_cast<A*>(shared_bytes);
    const int first = part * tiling.columns, left = static_cast<int>(cols) - first;
    const int columns = left < tiling.columns ? left : tiling.columns, across = lanes.across;
    const int own = static_cast<int>(threadIdx.x) / across, rows = blockDim.x / across;
    const int at = (static_cast<int>(threadIdx.x) & (across - 1)) * V;
    __syncthreads();  // behind those who look at the tile before
#pragma unroll 4
    for (int i = own; i < columns; i += rows)
      *reinterpret_cast<Vec<A, V>*>(tile + i * width + at) =
          load_kept<V>(x.row(panel, first + i) + at);
    __syncthreads();
    return {tile - int64_t{first} * width, width, 0};
  }

  // body(row, links) with the links that each row of a cut has in a part; row = -1 for lanes
  // without. The rows of a cut are apart, as neighbours often have a similar number of links.
  template <class Body>
  __device__ void each_row(const Csr& w, int part, int cut, const Body& body) const {
    const int rows = (static_cast<int>(w.rows) - cut + tiling.cuts - 1) / tiling.cuts;
    const int warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
    for_each_item(lanes, warp, warps, rows, [&](int item) {
      const int64_t row = item < 0 ? -1 : cut + int64_t{item} * tiling.cuts;
      const int64_t* const own = starts + row * tiling.parts + part;
      body(row, row < 0 ? Links{0, 0} : Links{own[0], own[1]});
    });
  }
};

// None where it is better to gather.
template <typename A>
Tiles<A> tiles_of(const Csr& w, const Shape& shape, int64_t panels, int64_t of_row, bool in_turn,
                  const Stream& stream) {
  const Tiling tiling =
      tiling_for({w.rows, w.cols, w.nnz(), panels, shape.width * static_cast<int64_t>(sizeof(A)),
                  of_row, in_turn, attribute(cudaDevAttrMultiProcessorCount),
                  attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)});
  if (tiling.parts == 0) return {};
  const int64_t items = w.rows * tiling.parts;
  int64_t* starts = take<int64_t>(stream, items + 1);
  launch(find_starts, items + 1, stream, w, tiling, starts);
  return {tiling, Lanes::of(w.nnz(), items, shape.width, shape.vector<A>()), starts, shape.width};
}

}  // namespace
}  // namespace sparse_engine::cuda
