// Checks of a pattern from outside, before a kernel may follow its indices.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <sstream>
#include <vector>

#include "runtime/in_range.h"
#include "runtime/links.h"
#include "runtime/team.h"
#include "sparse_engine/pattern.h"

namespace sparse_engine {
namespace {

template <class... Parts>
std::string join(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Whether the pointers of these rows never decrease, and are not negative.
bool increases(const int64_t* ptr, int64_t rows) {
  uint64_t wrong = static_cast<uint64_t>(ptr[0]);
  for (int64_t row = 0; row < rows; ++row) {
    const uint64_t begin = static_cast<uint64_t>(ptr[row]);
    const uint64_t end = static_cast<uint64_t>(ptr[row + 1]);
    wrong |= end | (end - begin);
  }
  return wrong >> 63 == 0;
}

// The same for columns that increase strictly, and are below `size`.
bool is_row(const int32_t* idx, int64_t n, int64_t size) {
  if (n == 0) return true;
  bool sorted = idx[0] >= 0 && idx[n - 1] < size;
  for (int64_t p = 1; p < n; ++p) sorted &= idx[p] > idx[p - 1];
  return sorted;
}

}  // namespace

std::string copy_pointers(const int64_t* from, int64_t rows, int64_t nnz, const char* name,
                          int64_t* ptr) {
  std::memcpy(ptr, from, (rows + 1) * sizeof *ptr);
  if (ptr[0] == 0 && ptr[rows] == nnz && increases(ptr, rows)) return "";
  if (ptr[0] != 0 || ptr[rows] != nnz)
    return join("expected ", name, " to run from 0 to the ", nnz, " links, found ", ptr[0], " to ",
                ptr[rows]);
  int64_t row = 0;
  while (ptr[row + 1] >= ptr[row]) ++row;
  return join("expected ", name, " non-decreasing in [0, ", nnz, "], found ", ptr[row + 1],
              " after ", ptr[row], " at position ", row + 1);
}

int64_t first_outside(const int32_t* idx, int64_t n, int64_t size, int threads) {
  std::atomic<bool> inside{true};
  run_team(useful_threads(threads, n / 8), [&](const Team& team) {
    const int64_t first = team.first(n);
    if (!in_range(idx + first, team.last(n) - first, size)) inside = false;
  });
  if (inside) return -1;
  const auto outside = [size](int32_t index) { return index < 0 || index >= size; };
  const int64_t at = std::find_if(idx, idx + n, outside) - idx;
  return at < n ? at : -1;
}

int64_t first_not_bool(const bool* marks, int64_t n, int threads) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(marks);
  std::atomic<bool> all{true};
  run_team(useful_threads(threads, n / 16), [&](const Team& team) {
    uint8_t bits = 0;
    for (int64_t i = team.first(n); i < team.last(n); ++i) bits |= bytes[i];
    if (bits > 1) all = false;
  });
  if (all) return -1;
  const int64_t at = std::find_if(bytes, bytes + n, [](uint8_t b) { return b > 1; }) - bytes;
  return at < n ? at : -1;
}

bool is_valid(const Csr& w, int threads) {
  std::atomic<bool> valid{true};
  run_team(useful_threads(threads, w.nnz() / 4), [&](const Team& team) {
    const Rows rows = rows_of(w, team.rank, team.size, 1);
    bool own = true;
    for (int64_t row = rows.first; row < rows.last; ++row)
      own &= is_row(w.idx + w.ptr[row], w.ptr[row + 1] - w.ptr[row], w.cols);
    if (!own) valid = false;
  });
  return valid;
}

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

bool is_transpose(const Csr& w, const Csr& wt, int threads) {
  std::vector<int64_t> ptr(w.cols + 1);
  std::vector<int32_t> idx(w.nnz()), permutation(w.nnz());
  transpose(w, ptr.data(), idx.data(), permutation.data(), threads);
  return std::equal(ptr.begin(), ptr.end(), wt.ptr) && std::equal(idx.begin(), idx.end(), wt.idx);
}

}  // namespace sparse_engine
