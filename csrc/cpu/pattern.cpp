#include "sparse_engine/pattern.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "team.h"

namespace sparse_engine {
namespace {

template <class... Parts>
std::string join(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace

std::string what_is_wrong(const Csr& w, int64_t nnz) {
  if (w.ptr[0] != 0) return join("expected crow_indices to start at 0, found ", w.ptr[0]);
  for (int64_t row = 0; row < w.rows; ++row)
    if (w.ptr[row + 1] < w.ptr[row] || w.ptr[row + 1] > nnz)
      return join("expected crow_indices non-decreasing in [0, ", nnz, "], found ", w.ptr[row + 1],
                  " after ", w.ptr[row], " at position ", row + 1);
  if (w.ptr[w.rows] != nnz)
    return join("expected crow_indices to end at the number of links ", nnz, ", found ",
                w.ptr[w.rows]);
  for (int64_t row = 0; row < w.rows; ++row)
    for (int64_t p = w.ptr[row]; p < w.ptr[row + 1]; ++p) {
      if (w.idx[p] < 0 || w.idx[p] >= w.cols)
        return join("expected col_indices in [0, ", w.cols, "), found ", w.idx[p], " at position ",
                    p);
      if (p > w.ptr[row] && w.idx[p] <= w.idx[p - 1])
        return join("expected col_indices strictly increasing within row ", row, ", found ",
                    w.idx[p], " after ", w.idx[p - 1], " at position ", p,
                    w.idx[p] == w.idx[p - 1] ? " (a duplicate link)" : "");
    }
  return "";
}

void transpose(const Csr& w, int64_t* ptr, int32_t* idx, int32_t* permutation, int threads) {
  const int64_t nnz = w.nnz();
  std::vector<int64_t> next(w.cols);
  ptr[0] = 0;
  // Every thread reads all links, in order, and writes those of its own columns: each column has
  // one writer, so its rows come out sorted without any coordination.
  run_team(useful_threads(threads, nnz), [&](const Team& team) {
    const int32_t first = static_cast<int32_t>(team.first(w.cols));
    const int32_t last = static_cast<int32_t>(team.last(w.cols));
    std::fill(ptr + first + 1, ptr + last + 1, int64_t{0});
    for (int64_t p = 0; p < nnz; ++p)
      if (w.idx[p] >= first && w.idx[p] < last) ++ptr[w.idx[p] + 1];
    team.barrier();
    if (team.rank == 0)
      for (int64_t c = 0; c < w.cols; ++c) ptr[c + 1] += ptr[c];
    team.barrier();
    std::copy(ptr + first, ptr + last, next.begin() + first);
    for (int64_t row = 0; row < w.rows; ++row)
      for (int64_t p = w.ptr[row]; p < w.ptr[row + 1]; ++p) {
        if (w.idx[p] < first || w.idx[p] >= last) continue;
        const int64_t at = next[w.idx[p]]++;
        idx[at] = static_cast<int32_t>(row);
        permutation[at] = static_cast<int32_t>(p);
      }
  });
}

int64_t rewire(const Rewiring& a, int threads) {
  // Cells are sorted, so those of a row are a run that a binary search finds.
  const auto cells_before = [&](int64_t row) {
    return std::lower_bound(a.cells, a.cells + a.born, row * a.w.cols) - a.cells;
  };
  int64_t clash = -1;
  a.ptr[0] = 0;
  run_team(useful_threads(threads, a.w.nnz() + a.w.rows), [&](const Team& team) {
    const int64_t first = team.first(a.w.rows), last = team.last(a.w.rows);
    int64_t born = cells_before(first);
    for (int64_t row = first; row < last; ++row) {
      const int64_t before = born;
      while (born < a.born && a.cells[born] < (row + 1) * a.w.cols) ++born;
      a.ptr[row + 1] =
          std::count(a.keep + a.w.ptr[row], a.keep + a.w.ptr[row + 1], true) + born - before;
    }
    team.barrier();
    if (team.rank == 0)
      for (int64_t row = 0; row < a.w.rows; ++row) a.ptr[row + 1] += a.ptr[row];
    team.barrier();
    born = cells_before(first);
    for (int64_t row = first; row < last; ++row) {
      const int64_t base = row * a.w.cols;
      int64_t at = a.ptr[row], p = a.w.ptr[row];
      const int64_t end = a.w.ptr[row + 1];
      while (true) {
        while (p < end && !a.keep[p]) a.slot_map[p++] = -1;
        const bool has_cell = born < a.born && a.cells[born] < base + a.w.cols;
        if (p == end && !has_cell) break;
        if (has_cell && p < end && a.cells[born] == base + a.w.idx[p]) {
#pragma omp atomic write
          clash = a.cells[born];
        }
        if (has_cell && (p == end || a.cells[born] <= base + a.w.idx[p])) {
          a.born_slot[born] = static_cast<int32_t>(at);
          a.idx[at++] = static_cast<int32_t>(a.cells[born++] - base);
        } else {
          a.slot_map[p] = static_cast<int32_t>(at);
          a.idx[at++] = a.w.idx[p++];
        }
      }
    }
  });
  return clash;
}

}  // namespace sparse_engine
