#include "sparse_engine/sums.h"

#include <algorithm>
#include <cstring>

#include "runtime/memory.h"
#include "runtime/team.h"

namespace sparse_engine {
namespace {

// Tiles of so many features and columns are summed by one thread each.
constexpr int64_t kFeatures = 256, kColumns = 256;

// Numbers that are neighbours in memory are added to so many sums in turn, as vectors.
constexpr int kLanes = 16;

template <typename T>
T number(T x) {
  return x;
}

float number(BFloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// sums[f] = sum_n from[f, n], where features are neighbours in memory.
template <typename T, typename A>
void sum_rows(const Dense<const A>& from, int64_t features, int64_t columns, T* sums) {
  std::fill(sums, sums + features, T(0));
  for (int64_t n = 0; n < columns; ++n) {
    const A* row = from.at(0, n);
    for (int64_t f = 0; f < features; ++f) sums[f] += static_cast<T>(number(row[f]));
  }
}

// The same where columns are.
template <typename T, typename A>
void sum_lanes(const Dense<const A>& from, int64_t features, int64_t columns, T* sums) {
  for (int64_t f = 0; f < features; ++f) {
    const A* row = from.at(f, 0);
    T lanes[kLanes] = {};
    int64_t n = 0;
    for (; n + kLanes <= columns; n += kLanes)
      for (int l = 0; l < kLanes; ++l) lanes[l] += static_cast<T>(number(row[n + l]));
    for (int l = 0; n < columns; ++n, ++l) lanes[l] += static_cast<T>(number(row[n]));
    sums[f] = T(0);
    for (const T lane : lanes) sums[f] += lane;
  }
}

}  // namespace

template <typename T, typename A>
void column_sums(const ColumnSums<T, A>& a) {
  const int64_t blocks = std::max<int64_t>(1, (a.columns + kColumns - 1) / kColumns);
  const int64_t across = (a.features + kFeatures - 1) / kFeatures;
  Scratch scratch(Scratch::bytes_of<T>(blocks * a.features));
  T* partial = scratch.take<T>(blocks * a.features);
  run_team(job_of_region(a.threads, a.features * a.columns / 4), [&](const Team& team) {
    for (int64_t tile = team.first(blocks * across); tile < team.last(blocks * across); ++tile) {
      const int64_t n = tile / across * kColumns, f = tile % across * kFeatures;
      const Dense<const A> from{a.x.at(f, n), a.x.feature_stride, a.x.column_stride};
      const int64_t features = std::min(kFeatures, a.features - f);
      const int64_t columns = std::min(kColumns, a.columns - n);
      T* sums = partial + tile / across * a.features + f;
      if (a.x.feature_stride == 1)
        sum_rows(from, features, columns, sums);
      else
        sum_lanes(from, features, columns, sums);
    }
    team.barrier();
    const int64_t first = team.first(a.features, 16), last = team.last(a.features, 16);
    std::copy(partial + first, partial + last, a.sums + first);
    for (int64_t block = 1; block < blocks; ++block)
      for (int64_t f = first; f < last; ++f) a.sums[f] += partial[block * a.features + f];
  });
}

template void column_sums(const ColumnSums<float>&);
template void column_sums(const ColumnSums<double>&);
template void column_sums(const ColumnSums<float, BFloat16>&);

}  // namespace sparse_engine
