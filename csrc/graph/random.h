// Random integers from a counter: a stream is a function of its seed and number alone.
#pragma once

#include <cstdint>

#include "sparse_engine/philox.h"

namespace sparse_engine {

class Random {
 public:
  Random(uint64_t seed, uint32_t stream) : seed_(seed), stream_(stream) {}

  // Uniform in [0, bound), bound > 0: Lemire, "Fast random integer generation in an interval".
  uint64_t below(uint64_t bound) {
    if (bound >> 32 == 0) {
      uint64_t product = word() * bound;
      if (static_cast<uint32_t>(product) < bound)
        for (const uint32_t reject = (uint64_t{1} << 32) % bound;
             static_cast<uint32_t>(product) < reject;)
          product = word() * bound;
      return product >> 32;
    }
    // Wide bounds are rare: as many bits as they have, drawn again until they are below.
    uint64_t mask = ~uint64_t{0} >> __builtin_clzll(bound), drawn;
    do {
      drawn = word() << 32;
      drawn = (drawn | word()) & mask;
    } while (drawn >= bound);
    return drawn;
  }

 private:
  uint64_t word() {
    if (left_ == 0) {
      words_ = Philox::at(counter_++, 0, stream_, seed_);
      left_ = 4;
    }
    return words_.word[--left_];
  }

  uint64_t seed_, counter_ = 0;
  uint32_t stream_;
  int left_ = 0;
  Philox words_{};
};

}  // namespace sparse_engine
