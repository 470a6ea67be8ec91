// Tags of the instruction sets: each kernel file is compiled once per tag that is built, and for
// each type of numbers.
#pragma once

#include "sparse_engine/bfloat16.h"

namespace sparse_engine {

struct Baseline {};
struct V3 {};      // x86-64-v3: AVX2 and FMA
struct V4 {};      // x86-64-v4: AVX-512; float32 and float64 only
struct V4Bf16 {};  // with AVX512_BF16 as well; bfloat16 only

}  // namespace sparse_engine
