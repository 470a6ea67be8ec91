#include <algorithm>
#include <atomic>

#include "runtime/team.h"
#include "sparse_engine/pattern.h"

namespace sparse_engine {
namespace {

template <typename Word>
int64_t carry_words(const void* source, const int32_t* slot_map, int64_t nnz, int64_t size,
                    void* target, int threads) {
  const Word* from = static_cast<const Word*>(source);
  Word* to = static_cast<Word*>(target);
  std::atomic<int64_t> wrong{-1};
  run_team(useful_threads(threads, nnz / 4), [&](const Team& team) {
    const int64_t first = team.first(size), last = team.last(size);
    std::fill(to + first, to + last, Word(0));
    team.barrier();
    // A branch on which links stay would be mispredicted all the time.
    Word nowhere;
    for (int64_t p = team.first(nnz); p < team.last(nnz); ++p) {
      const int64_t slot = slot_map[p];
      *(slot >= 0 && slot < size ? to + slot : &nowhere) = from[p];
      if (slot < -1 || slot >= size) wrong = slot;
    }
  });
  return wrong;
}

}  // namespace

int64_t carry(const void* from, const int32_t* slot_map, int64_t nnz, int width, int64_t size,
              void* to, int threads) {
  const auto words = width == 1   ? carry_words<uint8_t>
                     : width == 2 ? carry_words<uint16_t>
                     : width == 4 ? carry_words<uint32_t>
                                  : carry_words<uint64_t>;
  return words(from, slot_map, nnz, size, to, threads);
}

void copy_bytes(const void* source, int64_t bytes, void* target, int threads) {
  const char* from = static_cast<const char*>(source);
  run_team(useful_threads(threads, bytes / 16), [&](const Team& team) {
    const int64_t first = team.first(bytes, 64), last = team.last(bytes, 64);
    std::copy(from + first, from + last, static_cast<char*>(target) + first);
  });
}

}  // namespace sparse_engine
