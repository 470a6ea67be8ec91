// Elementwise work, and a search within it.
#pragma once

#include "runtime/launch.cuh"

namespace sparse_engine::cuda {
namespace {

// body(i) for 0 <= i < n, a thread each.
template <class Body>
__global__ void __launch_bounds__(kThreads) for_each(const Body body, int64_t n) {
  for (int64_t i = thread_in_grid(); i < n; i += threads_of_grid()) body(i);
}

template <class Body>
void run_each(const Body& body, int64_t n, const Stream& stream) {
  launch(for_each<Body>, n, stream, body, n);
}

// The first i in [first, last) for which the condition holds, or last; it must hold from there on.
template <class Condition>
__device__ int64_t first_where(int64_t first, int64_t last, const Condition& holds) {
  while (first < last) {
    const int64_t middle = first + (last - first) / 2;
    if (holds(middle))
      last = middle;
    else
      first = middle + 1;
  }
  return first;
}

}  // namespace
}  // namespace sparse_engine::cuda
