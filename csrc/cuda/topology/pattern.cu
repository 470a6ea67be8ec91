// Rewiring by ranks: where a link goes follows from how many kept links and how many new cells are
// before it, so every link finds its place by itself.
#include "runtime/each.cuh"
#include "sparse_engine/pattern.h"
#include "topology/sort.cuh"

namespace sparse_engine::cuda {
namespace {

__device__ int64_t row_of(const Csr& w, int64_t link) {
  return first_where(0, w.rows, [&](int64_t row) { return w.ptr[row + 1] > link; });
}

struct ColumnAndPosition {
  Csr w;
  Sortable<int32_t> to;
  __device__ void operator()(int64_t p) const {
    to.keys[p] = w.idx[p];
    to.payload[p] = static_cast<int32_t>(p);
  }
};

// Columns with what belongs to them, in order, as rows of the transposed pattern.
struct Transposed {
  Csr w;
  Sortable<int32_t> sorted;
  int64_t* ptr;
  int32_t *idx, *permutation;
  __device__ void operator()(int64_t i) const {
    if (i <= w.cols)
      ptr[i] = first_where(0, w.links, [&](int64_t p) { return sorted.keys[p] >= i; });
    if (i >= w.links) return;
    idx[i] = static_cast<int32_t>(row_of(w, sorted.payload[i]));
    permutation[i] = sorted.payload[i];
  }
};

// Whether a cell is out of range or not greater than the one before it.
struct Unordered {
  const int64_t* cells;
  int64_t size;
  __device__ int64_t operator()(int64_t i) const {
    const int64_t before = i > 0 ? cells[i - 1] : -1;
    return cells[i] <= before || cells[i] < 0 || cells[i] >= size;
  }
};

struct FirstMarked {
  const int64_t* before;  // [n + 1], marks before each
  int64_t n;
  int64_t* first;
  __device__ void operator()(int64_t) const {
    const int64_t at = first_where(0, n, [&](int64_t i) { return before[i + 1] > 0; });
    *first = at < n ? at : -1;
  }
};

// Entry i is a link, a new cell and the end of a row, whichever there are.
struct Merge {
  Rewiring a;
  const int64_t* kept_before;  // [nnz + 1]
  int64_t* clash;

  __device__ int64_t cells_before(int64_t cell) const {
    return first_where(0, a.born, [&](int64_t j) { return a.cells[j] >= cell; });
  }
  __device__ void move_link(int64_t p) const {
    a.slot_map[p] = -1;
    if (!a.keep[p]) return;
    const int64_t cell = row_of(a.w, p) * a.w.cols + a.w.idx[p], born = cells_before(cell);
    if (born < a.born && a.cells[born] == cell) *clash = cell;
    const int64_t slot = kept_before[p] + born;
    a.slot_map[p] = static_cast<int32_t>(slot);
    a.idx[slot] = a.w.idx[p];
  }
  __device__ void place_cell(int64_t j) const {
    const int64_t row = a.cells[j] / a.w.cols, column = a.cells[j] % a.w.cols;
    const int64_t next = first_where(a.w.ptr[row], a.w.ptr[row + 1],
                                     [&](int64_t p) { return a.w.idx[p] >= column; });
    const int64_t slot = j + kept_before[next];
    a.born_slot[j] = static_cast<int32_t>(slot);
    a.idx[slot] = static_cast<int32_t>(column);
  }
  __device__ void operator()(int64_t i) const {
    if (i < a.w.links) move_link(i);
    if (i < a.born) place_cell(i);
    if (i <= a.w.rows) a.ptr[i] = kept_before[a.w.ptr[i]] + cells_before(i * a.w.cols);
  }
};

template <typename Word>
struct Carry {
  const Word* from;
  const int32_t* slot_map;
  int64_t size;
  Word* to;
  int64_t* wrong;
  __device__ void operator()(int64_t p) const {
    const int64_t slot = slot_map[p];
    if (slot >= 0 && slot < size) to[slot] = from[p];
    if (slot < -1 || slot >= size) *wrong = slot;
  }
};

template <typename Word>
int64_t carry_words(const void* from, const int32_t* slot_map, int64_t nnz, int64_t size, void* to,
                    const Stream& stream) {
  int64_t* wrong = take_flag(stream);
  Word* target = static_cast<Word*>(to);
  fill_zeros(target, size, stream);
  run_each(Carry<Word>{static_cast<const Word*>(from), slot_map, size, target, wrong}, nnz, stream);
  return read(wrong, stream);
}

}  // namespace

template <typename T>
std::vector<T> on_cpu(const T* from, int64_t n, const Stream& stream) {
  std::vector<T> copy(n);
  check(cudaMemcpyAsync(copy.data(), from, n * sizeof(T), cudaMemcpyDeviceToHost, handle(stream)));
  check(cudaStreamSynchronize(handle(stream)));
  return copy;
}

template std::vector<int32_t> on_cpu(const int32_t*, int64_t, const Stream&);
template std::vector<int64_t> on_cpu(const int64_t*, int64_t, const Stream&);

void transpose(const Csr& w, int64_t* ptr, int32_t* idx, int32_t* permutation,
               const Stream& stream) {
  const auto pairs = [&] {
    return Sortable<int32_t>{take<int64_t>(stream, w.nnz()), take<int32_t>(stream, w.nnz())};
  };
  const Sortable<int32_t> links = pairs();
  run_each(ColumnAndPosition{w, links}, w.nnz(), stream);
  const Sortable<int32_t> sorted = sort(links, pairs(), w.nnz(), w.cols, stream);
  run_each(Transposed{w, sorted, ptr, idx, permutation}, std::max(w.nnz(), w.cols + 1), stream);
}

int64_t count_true(const bool* marks, int64_t n, const Stream& stream) {
  int64_t* before = take<int64_t>(stream, n + 1);
  scan(Array<bool>{marks}, n, before, stream);
  return read(before + n, stream);
}

int64_t first_unordered(const int64_t* cells, int64_t n, int64_t size, const Stream& stream) {
  int64_t* before = take<int64_t>(stream, n + 1);
  int64_t* first = take<int64_t>(stream, 1);
  scan(Unordered{cells, size}, n, before, stream);
  run_each(FirstMarked{before, n, first}, 1, stream);
  return read(first, stream);
}

int64_t rewire(const Rewiring& a, const Stream& stream) {
  int64_t* clash = take_flag(stream);
  int64_t* kept_before = take<int64_t>(stream, a.w.nnz() + 1);
  scan(Array<bool>{a.keep}, a.w.nnz(), kept_before, stream);
  run_each(Merge{a, kept_before, clash}, std::max({a.w.nnz(), a.born, a.w.rows + 1}), stream);
  return read(clash, stream);
}

int64_t carry(const void* from, const int32_t* slot_map, int64_t nnz, int width, int64_t size,
              void* to, const Stream& stream) {
  const auto words = width == 1   ? carry_words<uint8_t>
                     : width == 2 ? carry_words<uint16_t>
                     : width == 4 ? carry_words<uint32_t>
                                  : carry_words<uint64_t>;
  return words(from, slot_map, nnz, size, to, stream);
}

}  // namespace sparse_engine::cuda
