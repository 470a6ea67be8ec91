// Philox4x32-10: counter-based random numbers (Salmon et al., SC 2011).
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define SE_EVERYWHERE __host__ __device__
#else
#define SE_EVERYWHERE
#endif

namespace sparse_engine {

struct Philox {
  uint32_t word[4];

  // The four words that belong to this counter and key.
  SE_EVERYWHERE static Philox at(uint64_t counter, uint32_t step, uint32_t stream, uint64_t seed) {
    Philox x{{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), step, stream}};
    uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t a = uint64_t{0xD2511F53} * x.word[0];
      const uint64_t b = uint64_t{0xCD9E8D57} * x.word[2];
      x = {{static_cast<uint32_t>(b >> 32) ^ x.word[1] ^ key0, static_cast<uint32_t>(b),
            static_cast<uint32_t>(a >> 32) ^ x.word[3] ^ key1, static_cast<uint32_t>(a)}};
      key0 += 0x9E3779B9;
      key1 += 0xBB67AE85;
    }
    return x;
  }

  SE_EVERYWHERE uint64_t pair(int i) const {
    return word[2 * i] | static_cast<uint64_t>(word[2 * i + 1]) << 32;
  }
};

}  // namespace sparse_engine
