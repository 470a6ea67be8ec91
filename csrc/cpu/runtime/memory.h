// Working memory of the kernels, and what they need to know of the caches.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace sparse_engine {

// AddressSanitizer is told which bytes of a block are taken, and finds a kernel that leaves an
// array by the cache line behind it.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kGuard = 64;
inline void forbid(const void* data, size_t bytes) { __asan_poison_memory_region(data, bytes); }
inline void allow(const void* data, size_t bytes) { __asan_unpoison_memory_region(data, bytes); }
#else
constexpr size_t kGuard = 0;
inline void forbid(const void*, size_t) {}
inline void allow(const void*, size_t) {}
#endif

// Uninitialised memory in huge pages. Blocks that are given back are kept for whoever asks next, up
// to a bound: fresh pages cost more than many kernels do. Throws OutOfMemory.
struct MemoryBlock {
  char* data;
  size_t size;
};
MemoryBlock take_block(size_t bytes);
void give_block_back(const MemoryBlock& block);

// A block, cut into arrays that are aligned to a cache line and live as long as this object.
class Scratch {
 public:
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <typename T>
  T* take(int64_t count) {
    T* at = reinterpret_cast<T*>(next_);
    next_ += bytes_of<T>(count);
    if (next_ > block_.data + asked_) overdrawn();
    allow(at, count * sizeof(T));
    return at;
  }

  // What `take<T>(count)` uses up.
  template <typename T>
  static constexpr size_t bytes_of(int64_t count) {
    return (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64 + (count > 0 ? kGuard : 0);
  }

 private:
  // A kernel that takes more than it asked for would write into somebody else's memory.
  [[noreturn]] static void overdrawn();

  MemoryBlock block_;
  size_t asked_;
  char* next_;
};

// Asks for huge pages under a large fresh allocation, which may hold anything: touching it for the
// first time is then a matter of a few page faults instead of thousands.
void prefer_huge_pages(void* data, size_t bytes);

// Bytes of second-level cache of one core.
int64_t l2_bytes();

}  // namespace sparse_engine
