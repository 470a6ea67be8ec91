// Elementwise work, and one number that any thread may set: what was found wrong, or -1.
#pragma once

#include "runtime/launch.cuh"

namespace sparse_engine::cuda {
namespace {

inline int64_t* take_flag(const Stream& stream) {
  int64_t* flag = take<int64_t>(stream, 1);
  check(cudaMemsetAsync(flag, 0xff, sizeof *flag, handle(stream)));
  return flag;
}

// body(i) for 0 <= i < n, a thread each.
template <class Body>
__global__ void __launch_bounds__(kThreads) for_each(const Body body, int64_t n) {
  for (int64_t i = thread_in_grid(); i < n; i += threads_of_grid()) body(i);
}

template <class Body>
void run_each(const Body& body, int64_t n, const Stream& stream) {
  launch(for_each<Body>, n, stream, body, n);
}

}  // namespace
}  // namespace sparse_engine::cuda
