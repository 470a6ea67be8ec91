#include "links.h"

#include <algorithm>

namespace sparse_engine {
namespace {

constexpr int64_t kLinksPerRow = 4;

int64_t boundary(const Csr& w, int member, int size, int64_t grain) {
  if (member >= size) return w.rows;
  const int64_t blocks = (w.rows + grain - 1) / grain;
  const int64_t total = w.nnz() + w.rows * kLinksPerRow;
  const int64_t target = total / size * member;
  int64_t low = 0, high = blocks;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    const int64_t row = std::min(middle * grain, w.rows);
    if (w.ptr[row] + row * kLinksPerRow < target)
      low = middle + 1;
    else
      high = middle;
  }
  return std::min(low * grain, w.rows);
}

}  // namespace

Rows rows_of(const Csr& w, int rank, int size, int64_t grain) {
  return {boundary(w, rank, size, grain), boundary(w, rank + 1, size, grain)};
}

template <typename T>
void permute(const T* values, const int32_t* permutation, int64_t first, int64_t last, T* out) {
  for (int64_t p = first; p < last; ++p) out[p] = values[permutation[p]];
}

template void permute(const float*, const int32_t*, int64_t, int64_t, float*);
template void permute(const double*, const int32_t*, int64_t, int64_t, double*);

}  // namespace sparse_engine
