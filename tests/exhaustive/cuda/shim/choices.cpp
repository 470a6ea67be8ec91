// What the host decides without looking at a device, for the tests of that.
#include "products/staged.cuh"

// The columns of each part, or 0 where a product is not staged.
extern "C" __attribute__((visibility("default"))) int columns_of_a_part(
    int64_t rows, int64_t cols, int64_t links, int64_t panels, int64_t bytes, int64_t processors,
    int64_t shared_memory) {
  return sparse_engine::cuda::parts_for(
             {rows, cols, links, panels, bytes, bytes, processors, shared_memory})
      .columns;
}
