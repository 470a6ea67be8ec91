#include "products/slice_product.h"
#include "runtime/memory.h"
#include "runtime/team.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {

template <class Isa, typename V>
void quantized_linear(const QuantizedLinear<V>& a) {
  const int64_t padded = padded_columns(a.w), units = a.w.units(), in_gate = a.w.slices_of_gate();
  Scratch scratch(Scratch::bytes_of<float>(a.columns * padded));
  float* x = scratch.take<float>(a.columns * padded);
  for (int64_t n = 0; n < a.columns; ++n) {
    std::copy_n(a.x + n * a.w.cols, a.w.cols, x + n * padded);
    std::fill(x + n * padded + a.w.cols, x + (n + 1) * padded, 0.f);
  }
  run_team(job_of(a.threads, work_of(a.w) * a.columns), [&](const Team& team) {
    const int64_t last = team.last(a.w.slices());
    for (int64_t slice = team.first(a.w.slices()); slice < last; ++slice) {
      const int64_t unit = slice % in_gate * kSliceRows, row = slice / in_gate * units + unit;
      const int64_t count = std::min<int64_t>(kSliceRows, units - unit);
      for (int64_t n = 0; n < a.columns; ++n) {
        float sums[kSliceRows];
        slice_product(a.w, slice, x + n * padded, sums);
        for (int64_t r = 0; r < count; ++r)
          a.y[n * a.w.rows + row + r] =
              sums[r] * a.w.scales[row + r] + (a.bias ? a.bias[row + r] : 0.f);
      }
    }
  });
}

template void quantized_linear<SPARSE_ENGINE_ISA>(const QuantizedLinear<int8_t>&);
template void quantized_linear<SPARSE_ENGINE_ISA>(const QuantizedLinear<BFloat16>&);

}  // namespace sparse_engine
