// How often the kernels took their fast paths, for tests: the numbers are the same on any of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sparse_engine {

// Counts since the library was loaded; none is taken inside a loop.
struct Counters {
  std::atomic<int64_t> teams{0};    // parallel regions of more than one thread
  std::atomic<int64_t> members{0};  // and their threads
  std::atomic<int64_t> alone{0};    // regions that might have had a team, left to one thread
  std::atomic<int64_t> grouped_products{0};  // matrices whose links were sorted by groups of rows
  std::atomic<int64_t> parts{0};             // members that went through a part of the columns
  std::atomic<int64_t> event_products{0};    // steps of a panel whose links were found by spikes
};
inline Counters counters;

inline void tally(std::atomic<int64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}

// Bytes that are kept for the next kernel (runtime/memory.h).
size_t pooled_bytes();

}  // namespace sparse_engine
