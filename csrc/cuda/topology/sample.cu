// Uniform sampling of cells that hold no link: the draws of csrc/cpu/sample.cpp, number by number.
#include "runtime/each.cuh"
#include "sparse_engine/pattern.h"
#include "sparse_engine/philox.h"
#include "topology/sort.cuh"

namespace sparse_engine::cuda {
namespace {

// A number in [0, range) from each 64 random bits.
struct Draw {
  RandomKey key;
  uint64_t next;
  int64_t range;
  int64_t* values;
  __device__ void operator()(int64_t i) const {
    const uint64_t draw = next + i;
    const Philox bits = Philox::at(draw / 2, key.step, key.stream, key.seed);
    values[i] = static_cast<int64_t>(
        static_cast<unsigned __int128>(bits.pair(static_cast<int>(draw % 2))) * range >> 64);
  }
};

struct IsFirst {
  const int64_t* sorted;
  __device__ int64_t operator()(int64_t i) const { return i == 0 || sorted[i] != sorted[i - 1]; }
};

struct KeepFirst {
  IsFirst first;
  const int64_t* before;
  int64_t* to;
  __device__ void operator()(int64_t i) const {
    if (first(i)) to[before[i]] = first.sorted[i];
  }
};

// The i-th number that is no hole; holes are sorted.
struct BetweenHoles {
  const int64_t* holes;
  int64_t count;
  int64_t* to;
  __device__ void operator()(int64_t i) const {
    to[i] = i + first_where(0, count, [&](int64_t h) { return holes[h] - h > i; });
  }
};

// Cells of a row that hold no link that stays.
struct AbsentOfRow {
  Csr w;
  const int64_t* dropped_before;  // [nnz + 1], or null for none
  __device__ int64_t operator()(int64_t row) const {
    const int64_t first = w.ptr[row], last = w.ptr[row + 1];
    return w.cols - (last - first) +
           (dropped_before ? dropped_before[last] - dropped_before[first] : 0);
  }
};

// From a rank among the absent cells to the cell.
struct Place {
  AbsentOfRow absent;
  const int64_t* absent_before;  // [rows + 1]
  const int64_t* ranks;
  int64_t* cells;
  __device__ void operator()(int64_t i) const {
    const Csr& w = absent.w;
    const int64_t row =
        first_where(0, w.rows, [&](int64_t r) { return absent_before[r + 1] > ranks[i]; });
    const int64_t rank = ranks[i] - absent_before[row], first = w.ptr[row];
    const auto staying_before = [&](int64_t p) {
      const int64_t* dropped = absent.dropped_before;
      return p - first - (dropped ? dropped[p] - dropped[first] : 0);
    };
    const int64_t next = first_where(
        first, w.ptr[row + 1], [&](int64_t p) { return w.idx[p] - staying_before(p) > rank; });
    cells[i] = row * w.cols + rank + staying_before(next);
  }
};

// The first `count` distinct numbers of an endless sequence of draws from [0, range), sorted.
const int64_t* distinct(int64_t count, int64_t range, const RandomKey& key, const Stream& stream) {
  int64_t* values = take<int64_t>(stream, count);
  int64_t* other = take<int64_t>(stream, count);
  int64_t* before = take<int64_t>(stream, count + 1);
  uint64_t next = 0;
  for (int64_t have = 0; have < count;) {
    run_each(Draw{key, next, range, values + have}, count - have, stream);
    next += count - have;
    const Sortable<int32_t> sorted =
        sort(Sortable<int32_t>{values, nullptr}, {other, nullptr}, count, range, stream);
    if (sorted.keys == other) std::swap(values, other);
    scan(IsFirst{values}, count, before, stream);
    run_each(KeepFirst{{values}, before, other}, count, stream);
    have = read(before + count, stream);
    std::swap(values, other);
  }
  return values;
}

const int64_t* subset(int64_t count, int64_t range, const RandomKey& key, const Stream& stream) {
  if (count <= range / 2) return distinct(count, range, key, stream);
  const int64_t* holes = distinct(range - count, range, key, stream);
  int64_t* values = take<int64_t>(stream, count);
  run_each(BetweenHoles{holes, range - count, values}, count, stream);
  return values;
}

}  // namespace

void sample_absent(const Csr& w, const bool* dropped, int64_t count, const RandomKey& key,
                   int64_t* cells, const Stream& stream) {
  if (count == 0) return;
  int64_t* dropped_before = nullptr;
  if (dropped) {
    dropped_before = take<int64_t>(stream, w.nnz() + 1);
    scan(Array<bool>{dropped}, w.nnz(), dropped_before, stream);
  }
  const AbsentOfRow absent{w, dropped_before};
  int64_t* absent_before = take<int64_t>(stream, w.rows + 1);
  scan(absent, w.rows, absent_before, stream);
  const int64_t* ranks = subset(count, read(absent_before + w.rows, stream), key, stream);
  run_each(Place{absent, absent_before, ranks, cells}, count, stream);
}

}  // namespace sparse_engine::cuda
