#include "sparse_engine/pattern.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "runtime/links.h"
#include "runtime/team.h"

namespace sparse_engine {
namespace {

// Moves the kept links from p on that lie before `column`. Which ones are kept is in no order, so
// that a branch on it would be mispredicted all the time: the others are written, too, to nowhere.
void move_links(const Rewiring& a, int64_t& p, int64_t end, int64_t column, int64_t& at) {
  int32_t nowhere;
  for (; p < end && a.w.idx[p] < column; ++p) {
    const bool keep = a.keep[p];
    *(keep ? a.idx + at : &nowhere) = a.w.idx[p];
    a.slot_map[p] = keep ? static_cast<int32_t>(at) : -1;
    at += keep;
  }
}

}  // namespace

void transpose(const Csr& w, int64_t* ptr, int32_t* idx, int32_t* permutation, int threads) {
  const int64_t nnz = w.nnz();
  // Each member counts, and then places, the links of rows of its own. In every column its links
  // follow those of the members before it, so that rows come out sorted for any number of threads.
  const int64_t most = 1 + nnz / std::max<int64_t>(1, w.cols);
  const int size = static_cast<int>(std::min<int64_t>(useful_threads(threads, nnz), most));
  std::vector<int32_t> next(size * w.cols);
  ptr[0] = 0;
  run_team(size, [&](const Team& team) {
    const Rows rows = rows_of(w, team.rank, team.size, 1);
    int32_t* own = next.data() + team.rank * w.cols;
    for (int64_t p = w.ptr[rows.first]; p < w.ptr[rows.last]; ++p) ++own[w.idx[p]];
    team.barrier();
    if (team.rank == 0)
      for (int64_t c = 0; c < w.cols; ++c) {
        ptr[c + 1] = ptr[c];
        for (int member = 0; member < team.size; ++member)
          ptr[c + 1] += std::exchange(next[member * w.cols + c], static_cast<int32_t>(ptr[c + 1]));
      }
    team.barrier();
    for (int64_t row = rows.first; row < rows.last; ++row)
      for (int64_t p = w.ptr[row]; p < w.ptr[row + 1]; ++p) {
        const int32_t at = own[w.idx[p]]++;
        idx[at] = static_cast<int32_t>(row);
        permutation[at] = static_cast<int32_t>(p);
      }
  });
}

int64_t count_true(const bool* marks, int64_t n, int threads) {
  std::atomic<int64_t> total{0};
  run_team(useful_threads(threads, n / 16), [&](const Team& team) {
    total += std::count(marks + team.first(n), marks + team.last(n), true);
  });
  return total;
}

int64_t first_unordered(const int64_t* cells, int64_t n, int64_t size, int threads) {
  std::vector<int64_t> found(useful_threads(threads, n / 4), n);
  run_team(static_cast<int>(found.size()), [&](const Team& team) {
    int64_t i = team.first(n);
    const int64_t last = team.last(n);
    for (int64_t before = i > 0 ? cells[i - 1] : -1; i < last; before = cells[i++])
      if (cells[i] <= before || cells[i] < 0 || cells[i] >= size) break;
    if (i < last) found[team.rank] = i;
  });
  const int64_t first = *std::min_element(found.begin(), found.end());
  return first < n ? first : -1;
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
      const int64_t base = row * a.w.cols, end = a.w.ptr[row + 1];
      int64_t at = a.ptr[row], p = a.w.ptr[row];
      for (; born < a.born && a.cells[born] < base + a.w.cols; ++born) {
        const int32_t column = static_cast<int32_t>(a.cells[born] - base);
        move_links(a, p, end, column, at);
        if (p < end && a.w.idx[p] == column && a.keep[p]) {
#pragma omp atomic write
          clash = a.cells[born];
        }
        a.born_slot[born] = static_cast<int32_t>(at);
        a.idx[at++] = column;
      }
      move_links(a, p, end, a.w.cols, at);
    }
  });
  return clash;
}

}  // namespace sparse_engine
