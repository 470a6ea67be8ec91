#include "runtime/links.h"

#include <algorithm>

namespace sparse_engine {
namespace {

int64_t boundary(const Csr& w, int gates, int member, int size, int64_t grain, int64_t per_unit) {
  const int64_t units = w.rows / gates;
  if (member >= size) return units;
  const auto links_before = [&](int64_t unit) {
    int64_t links = 0;
    for (int g = 0; g < gates; ++g) links += w.ptr[g * units + unit] - w.ptr[g * units];
    return links;
  };
  const int64_t total = w.nnz() - w.ptr[0] + units * per_unit;
  const int64_t target = total / size * member;
  int64_t low = 0, high = (units + grain - 1) / grain;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    const int64_t unit = std::min(middle * grain, units);
    if (links_before(unit) + unit * per_unit < target)
      low = middle + 1;
    else
      high = middle;
  }
  return std::min(low * grain, units);
}

}  // namespace

Rows units_of(const Csr& w, int gates, int rank, int size, int64_t grain, int64_t links_per_unit) {
  return {boundary(w, gates, rank, size, grain, links_per_unit),
          boundary(w, gates, rank + 1, size, grain, links_per_unit)};
}

Rows rows_of(const Csr& w, int rank, int size, int64_t grain, int64_t links_per_row) {
  return units_of(w, 1, rank, size, grain, links_per_row);
}

}  // namespace sparse_engine
