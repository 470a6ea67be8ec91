// Links to slots and back.
#include "sparse_engine/quantized.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace sparse_engine {
namespace {

float as_float(int8_t code) { return code; }
float as_float(BFloat16 code) {
  const uint32_t bits = static_cast<uint32_t>(code.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <typename V>
V code_of(float value, float scale) {
  if constexpr (std::is_same_v<V, int8_t>) {
    if (!(scale > 0)) return 0;
    return static_cast<int8_t>(std::lrint(std::clamp(value / scale, -127.f, 127.f)));
  } else {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
  }
}

// Calls visit(slot, lane, row, column) for every slot and lane that belongs to a row and a column.
template <typename V, class Visit>
void each_lane(const Quantized<V>& w, const Visit& visit) {
  const int64_t units = w.units(), in_gate = w.slices_of_gate(), groups = w.groups();
  for (int64_t slice = 0; slice < w.slices(); ++slice) {
    const int64_t first = slice % in_gate * kSliceRows, base = slice / in_gate * units + first;
    const int lanes = static_cast<int>(std::min<int64_t>(kSliceRows, units - first));
    for (int64_t group = 0; group < groups; ++group) {
      const int32_t* at = w.ends + slice * groups + group;
      const int64_t end = std::min<int64_t>(at[1], w.slots);
      for (int64_t slot = std::max(at[0], 0); slot < end; ++slot)
        for (int lane = 0; lane < lanes; ++lane) {
          const int place = w.places[slot * kSliceRows + lane] % kGroupColumns;
          const int64_t column = group * kGroupColumns + place;
          if (column < w.cols) visit(slot, lane, base + lane, column);
        }
    }
  }
}

}  // namespace

int64_t count_slots(const Csr& w, int64_t gates, int32_t* ends) {
  const Quantized<int8_t> shape{nullptr, nullptr, nullptr, nullptr, 0, w.rows, w.cols, gates};
  const int64_t units = shape.units(), in_gate = shape.slices_of_gate(), groups = shape.groups();
  int64_t slots = 0;
  ends[0] = 0;
  for (int64_t slice = 0; slice < shape.slices(); ++slice) {
    const int64_t first = slice % in_gate * kSliceRows, base = slice / in_gate * units + first;
    const int64_t lanes = std::min<int64_t>(kSliceRows, units - first);
    int64_t next[kSliceRows];
    for (int64_t lane = 0; lane < lanes; ++lane) next[lane] = w.ptr[base + lane];
    for (int64_t group = 0; group < groups; ++group) {
      int64_t most = 0;
      for (int64_t lane = 0; lane < lanes; ++lane) {
        const int64_t begin = next[lane], end = w.ptr[base + lane + 1];
        while (next[lane] < end && w.idx[next[lane]] < (group + 1) * kGroupColumns) ++next[lane];
        most = std::max(most, next[lane] - begin);
      }
      slots += most;
      ends[slice * groups + group + 1] = static_cast<int32_t>(slots);
    }
  }
  return slots;
}

template <typename V>
void fill_slots(const Csr& w, const float* values, int64_t gates, const int32_t* ends, V* codes,
                uint8_t* places, float* scales) {
  const Quantized<V> shape{nullptr, nullptr, nullptr, nullptr, 0, w.rows, w.cols, gates};
  const int64_t units = shape.units(), in_gate = shape.slices_of_gate(), groups = shape.groups();
  for (int64_t row = 0; row < w.rows; ++row) {
    float largest = 0;
    for (int64_t p = w.ptr[row]; p < w.ptr[row + 1]; ++p)
      largest = std::max(largest, std::fabs(values[p]));
    scales[row] = std::is_same_v<V, int8_t> ? largest / 127.f : 1.f;
    const int64_t unit = row % units, lane = unit % kSliceRows;
    const int64_t slice = row / units * in_gate + unit / kSliceRows;
    int64_t group = -1, slot = 0;
    for (int64_t p = w.ptr[row]; p < w.ptr[row + 1]; ++p) {
      const int64_t own = w.idx[p] / kGroupColumns;
      if (own != group) group = own, slot = ends[slice * groups + group];
      codes[slot * kSliceRows + lane] = code_of<V>(values[p], scales[row]);
      places[slot * kSliceRows + lane] = static_cast<uint8_t>(w.idx[p] % kGroupColumns);
      ++slot;
    }
  }
}

template <typename V>
void count_links(const Quantized<V>& w, int64_t* ptr) {
  std::fill(ptr, ptr + w.rows + 1, 0);
  each_lane(w, [&](int64_t slot, int lane, int64_t row, int64_t) {
    ptr[row + 1] += as_float(w.codes[slot * kSliceRows + lane]) != 0;
  });
  for (int64_t row = 0; row < w.rows; ++row) ptr[row + 1] += ptr[row];
}

template <typename V>
void fill_links(const Quantized<V>& w, const int64_t* ptr, int32_t* idx, float* values) {
  std::fill(idx, idx + ptr[w.rows], 0);
  std::fill(values, values + ptr[w.rows], 0.f);
  int64_t slice_of = -1, next[kSliceRows] = {};
  const auto visit = [&](int64_t slot, int lane, int64_t row, int64_t column) {
    if (row - lane != slice_of) {
      slice_of = row - lane;
      for (int64_t i = 0; i < kSliceRows && slice_of + i < w.rows; ++i) next[i] = ptr[slice_of + i];
    }
    const float code = as_float(w.codes[slot * kSliceRows + lane]);
    // Somebody else may write to the codes meanwhile.
    if (code == 0 || next[lane] >= ptr[row + 1]) return;
    idx[next[lane]] = static_cast<int32_t>(column);
    values[next[lane]++] = code * w.scales[row];
  };
  each_lane(w, visit);
}

#define SPARSE_ENGINE_OF(V)                                                                 \
  template void fill_slots(const Csr&, const float*, int64_t, const int32_t*, V*, uint8_t*, \
                           float*);                                                         \
  template void count_links(const Quantized<V>&, int64_t*);                                 \
  template void fill_links(const Quantized<V>&, const int64_t*, int32_t*, float*);
SPARSE_ENGINE_OF(int8_t)
SPARSE_ENGINE_OF(BFloat16)

}  // namespace sparse_engine
