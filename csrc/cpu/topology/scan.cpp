#include "sparse_engine/scan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "runtime/team.h"
#include "sparse_engine/failure.h"

namespace sparse_engine {
namespace {

// Few entries are large: runs of this length are first asked as a whole.
constexpr int64_t kRun = 64;

// What a member of the team has found.
template <typename T>
struct Found {
  std::vector<T> magnitudes;
  std::vector<int64_t> cells;
};

// An integer that orders magnitudes as the numbers are ordered, NaN last.
template <typename T>
auto magnitude_bits(T value) {
  using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  Bits bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits & (~Bits(0) ^ Bits(1) << (8 * sizeof(T) - 1));
}

template <typename T>
void scan_row(const Csr& w, const T* entries, int64_t row, T above, Found<T>& found) {
  using Bits = decltype(magnitude_bits(above));
  const Bits bound = above < T(0) ? Bits(-1) : magnitude_bits(above);
  int64_t p = w.ptr[row];
  const int64_t end = w.ptr[row + 1];
  for (int64_t first = 0; first < w.cols; first += kRun) {
    const int64_t last = std::min(first + kRun, w.cols);
    Bits most = -1;
    for (int64_t c = first; c < last; ++c) most = std::max(most, magnitude_bits(entries[c]));
    if (most <= bound) continue;
    while (p < end && w.idx[p] < first) ++p;
    for (int64_t c = first; c < last; ++c) {
      const bool link = p < end && w.idx[p] == c;
      p += link;
      if (link || magnitude_bits(entries[c]) <= bound) continue;
      found.magnitudes.push_back(std::fabs(entries[c]));
      found.cells.push_back(row * w.cols + c);
    }
  }
}

}  // namespace

template <typename T>
void scan_absent(const Csr& w, const Block<T>& block, T above, const Room<T>& room, int threads) {
  std::vector<Found<T>> pieces(useful_threads(threads, block.rows * w.cols / 4));
  Failure failure;
  run_team(static_cast<int>(pieces.size()), [&](const Team& team) {
    failure.guard([&] {
      for (int64_t r = team.first(block.rows); r < team.last(block.rows); ++r)
        scan_row(w, block.entries + r * w.cols, block.first + r, above, pieces[team.rank]);
    });
  });
  failure.rethrow();
  int64_t found = 0;
  for (const Found<T>& piece : pieces) found += piece.cells.size();
  Entries<T> to = room(found);
  for (const Found<T>& piece : pieces) {
    to.magnitudes = std::copy(piece.magnitudes.begin(), piece.magnitudes.end(), to.magnitudes);
    to.cells = std::copy(piece.cells.begin(), piece.cells.end(), to.cells);
  }
}

template void scan_absent(const Csr&, const Block<float>&, float, const Room<float>&, int);
template void scan_absent(const Csr&, const Block<double>&, double, const Room<double>&, int);

}  // namespace sparse_engine
