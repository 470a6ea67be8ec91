// A stable sort of whole numbers, each with what belongs to it, least significant digit first.
// A thread owns a run of them: it counts the digits of its run, and after a scan over all counts,
// in the order of digits, it knows where each of its numbers goes.
#pragma once

#include "topology/scan.cuh"

namespace sparse_engine::cuda {
namespace {

constexpr int kDigitBits = 4, kDigits = 1 << kDigitBits;
constexpr int64_t kRun = 64;

template <typename Payload>
struct Sortable {
  int64_t* keys;     // [n], not negative
  Payload* payload;  // [n], or null for none
};

__global__ void __launch_bounds__(kThreads)
    count_digits(const int64_t* keys, int64_t n, int shift, int64_t runs, int64_t* counts) {
  for (int64_t run = thread_in_grid(); run < runs; run += threads_of_grid()) {
    for (int digit = 0; digit < kDigits; ++digit) counts[digit * runs + run] = 0;
    for (int64_t i = run * kRun; i < n && i < (run + 1) * kRun; ++i)
      ++counts[(keys[i] >> shift & (kDigits - 1)) * runs + run];
  }
}

template <typename Payload>
__global__ void __launch_bounds__(kThreads)
    deal_out(const Sortable<Payload> from, int64_t n, int shift, int64_t runs, int64_t* next,
             const Sortable<Payload> to) {
  for (int64_t run = thread_in_grid(); run < runs; run += threads_of_grid())
    for (int64_t i = run * kRun; i < n && i < (run + 1) * kRun; ++i) {
      const int64_t at = next[(from.keys[i] >> shift & (kDigits - 1)) * runs + run]++;
      to.keys[at] = from.keys[i];
      if (from.payload) to.payload[at] = from.payload[i];
    }
}

// Sorts by keys below `range`. Returns `values` or `other`, where the result is.
template <typename Payload>
Sortable<Payload> sort(Sortable<Payload> values, Sortable<Payload> other, int64_t n, int64_t range,
                       const Stream& stream) {
  const int64_t runs = divide_up(n, kRun), counters = kDigits * runs;
  int64_t* counts = take<int64_t>(stream, counters);
  int64_t* next = take<int64_t>(stream, counters + 1);
  for (int shift = 0; shift < 63 && (range - 1) >> shift > 0; shift += kDigitBits) {
    launch(count_digits, runs, stream, static_cast<const int64_t*>(values.keys), n, shift, runs,
           counts);
    scan(Array<int64_t>{counts}, counters, next, stream);
    launch(deal_out<Payload>, runs, stream, values, n, shift, runs, next, other);
    std::swap(values, other);
  }
  return values;
}

}  // namespace
}  // namespace sparse_engine::cuda
