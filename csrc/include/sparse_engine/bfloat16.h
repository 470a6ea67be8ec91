// Half as wide a number for activations: the upper half of a float32.
#pragma once

#include <cstdint>

namespace sparse_engine {

// Kernels compute in float and only keep such numbers: read exactly, rounded to the nearest when
// written, ties to even, so that each is within 2^-8 of what was computed. Sums of products of two
// of them may take numbers below 2^-126 as zeros, as some processors' instruction does.
struct BFloat16 {
  uint16_t bits;
};

}  // namespace sparse_engine
