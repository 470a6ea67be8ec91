// A set of links with room for a given number, to ask whether a link is there.
#pragma once

#include <cstdint>
#include <vector>

namespace sparse_engine {

// Open addressing with linear probing; what is removed leaves no mark behind.
class LinkSet {
 public:
  explicit LinkSet(int64_t most) {
    int bits = 2;
    while (int64_t{1} << bits < 2 * most) ++bits;
    shift_ = 64 - bits;
    slots_.assign(size_t{1} << bits, kEmpty);
  }

  // Keys are less than 2^64 - 1.
  bool contains(uint64_t key) const { return slots_[find(key)] == key; }

  // Returns whether the key is new.
  bool insert(uint64_t key) {
    uint64_t& slot = slots_[find(key)];
    const bool fresh = slot == kEmpty;
    slot = key;
    return fresh;
  }

  // Removes a key that is there.
  void erase(uint64_t key) {
    size_t hole = find(key);
    for (size_t at = next(hole); slots_[at] != kEmpty; at = next(at)) {
      // A key may move back as far as its home.
      const size_t home = home_of(slots_[at]), mask = slots_.size() - 1;
      if (((at - home) & mask) >= ((at - hole) & mask)) {
        slots_[hole] = slots_[at];
        hole = at;
      }
    }
    slots_[hole] = kEmpty;
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};

  size_t home_of(uint64_t key) const { return key * 0x9E3779B97F4A7C15u >> shift_; }
  size_t next(size_t at) const { return (at + 1) & (slots_.size() - 1); }

  // Where the key is, or where it would be.
  size_t find(uint64_t key) const {
    size_t at = home_of(key);
    while (slots_[at] != kEmpty && slots_[at] != key) at = next(at);
    return at;
  }

  std::vector<uint64_t> slots_;
  int shift_;
};

}  // namespace sparse_engine
