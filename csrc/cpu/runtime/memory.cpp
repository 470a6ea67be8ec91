#include "runtime/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <list>
#include <mutex>
#include <new>

#include "sparse_engine/counters.h"
#include "sparse_engine/out_of_memory.h"

namespace sparse_engine {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kMostKept = size_t{512} << 20;

// Blocks that nobody uses, those longest unused first.
struct Pool {
  std::mutex mutex;
  std::list<MemoryBlock> blocks;
  size_t kept = 0;

  // The smallest that holds so many bytes and wastes little, or none.
  MemoryBlock take(size_t bytes) {
    auto best = blocks.end();
    for (auto it = blocks.begin(); it != blocks.end(); ++it)
      if (it->size >= bytes && it->size - bytes <= kHugePage + bytes / 4 &&
          (best == blocks.end() || it->size < best->size))
        best = it;
    if (best == blocks.end()) return {nullptr, 0};
    const MemoryBlock found = *best;
    kept -= found.size;
    blocks.erase(best);
    return found;
  }

  // Keeps a block, and returns those that there is no room left for.
  std::list<MemoryBlock> keep(const MemoryBlock& block) {
    std::list<MemoryBlock> surplus;
    blocks.push_back(block);
    kept += block.size;
    while (kept > kMostKept) {
      kept -= blocks.front().size;
      surplus.splice(surplus.end(), blocks, blocks.begin());
    }
    return surplus;
  }
};

// Never destroyed: a thread may still be inside a kernel when the process ends.
Pool& pool() {
  static Pool* the_pool = new Pool;
  return *the_pool;
}

}  // namespace

MemoryBlock take_block(size_t bytes) {
  Pool& from = pool();
  MemoryBlock block;
  {
    std::lock_guard<std::mutex> lock(from.mutex);
    block = from.take(bytes);
  }
  if (block.data != nullptr) return block;
  block.size = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  block.data =
      static_cast<char*>(::operator new(block.size, std::align_val_t{kHugePage}, std::nothrow));
  if (block.data == nullptr)
    throw OutOfMemory(static_cast<double>(bytes), "what a kernel works with");
  madvise(block.data, block.size, MADV_HUGEPAGE);
  return block;
}

void give_block_back(const MemoryBlock& block) {
  Pool& to = pool();
  std::list<MemoryBlock> surplus;
  {
    std::lock_guard<std::mutex> lock(to.mutex);
    surplus = to.keep(block);
  }
  for (const MemoryBlock& each : surplus) ::operator delete(each.data, std::align_val_t{kHugePage});
}

size_t pooled_bytes() {
  std::lock_guard<std::mutex> lock(pool().mutex);
  return pool().kept;
}

Scratch::Scratch(size_t bytes) : block_{nullptr, 0}, asked_(bytes), next_(nullptr) {
  if (bytes == 0) return;
  block_ = take_block(bytes);
  next_ = block_.data;
  forbid(block_.data, block_.size);
}

void Scratch::overdrawn() {
  std::fputs("sparse_engine: a kernel took more scratch memory than it asked for\n", stderr);
  std::abort();
}

Scratch::~Scratch() {
  if (block_.data == nullptr) return;
  allow(block_.data, block_.size);
  give_block_back(block_);
}

void prefer_huge_pages(void* data, size_t bytes) {
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + kHugePage - 1) & ~(kHugePage - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) & ~(kHugePage - 1);
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

int64_t l2_bytes() {
  static const int64_t bytes = [] {
#ifdef _SC_LEVEL2_CACHE_SIZE
    const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (found > 0) return static_cast<int64_t>(found);
#endif
    return int64_t{1} << 20;
  }();
  return bytes;
}

}  // namespace sparse_engine
