// Half as wide a number for activations: the upper half of a float32.
#pragma once

#include <cstdint>

namespace sparse_engine {

// Kernels compute in float and only keep such numbers: read exactly, rounded to the nearest when
// written, ties to even, so that each is within 2^-8 of what was computed.
struct BFloat16 {
  uint16_t bits;
};

}  // namespace sparse_engine
