// Large entries where there is no link, numbered by a sum over the block: each then knows its
// place.
#include "runtime/each.cuh"
#include "sparse_engine/scan.h"
#include "topology/scan.cuh"

namespace sparse_engine::cuda {
namespace {

template <typename T>
struct IsFound {
  Csr w;
  Block<T> block;
  T above;

  __device__ T magnitude(int64_t i) const { return std::fabs(block.entries[i]); }
  __device__ int64_t cell(int64_t i) const { return block.first * w.cols + i; }
  __device__ int64_t operator()(int64_t i) const {
    if (magnitude(i) <= above) return 0;  // not so of NaN
    const int64_t row = cell(i) / w.cols, column = cell(i) % w.cols, end = w.ptr[row + 1];
    const int64_t next =
        first_where(w.ptr[row], end, [&](int64_t p) { return w.idx[p] >= column; });
    return next == end || w.idx[next] != column;
  }
};

template <typename T>
struct WriteFound {
  IsFound<T> found;
  const int64_t* before;
  Entries<T> to;
  __device__ void operator()(int64_t i) const {
    if (!found(i)) return;
    to.magnitudes[before[i]] = found.magnitude(i);
    to.cells[before[i]] = found.cell(i);
  }
};

}  // namespace

template <typename T>
void scan_absent(const Csr& w, const Block<T>& block, T above, const Room<T>& room,
                 const Stream& stream) {
  const int64_t n = block.rows * w.cols;
  const IsFound<T> found{w, block, above};
  int64_t* before = take<int64_t>(stream, n + 1);
  scan(found, n, before, stream);
  run_each(WriteFound<T>{found, before, room(read(before + n, stream))}, n, stream);
}

template void scan_absent(const Csr&, const Block<float>&, float, const Room<float>&,
                          const Stream&);
template void scan_absent(const Csr&, const Block<double>&, double, const Room<double>&,
                          const Stream&);

}  // namespace sparse_engine::cuda
