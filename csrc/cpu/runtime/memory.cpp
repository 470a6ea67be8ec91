#include "runtime/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "sparse_engine/out_of_memory.h"

namespace sparse_engine {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kMostKept = size_t{256} << 20;

struct Block {
  char* data;
  size_t size;
};

struct Pool {
  std::mutex mutex;
  std::vector<Block> blocks;
  size_t kept = 0;
};

// Never destroyed: a thread may still be inside a kernel when the process ends.
Pool& pool() {
  static Pool* the_pool = new Pool;
  return *the_pool;
}

char* allocate(size_t bytes) {
  void* found = ::operator new(bytes, std::align_val_t{kHugePage}, std::nothrow);
  if (found == nullptr) throw OutOfMemory(static_cast<double>(bytes), "what a kernel works with");
  char* data = static_cast<char*>(found);
  madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

void release(char* data) { ::operator delete(data, std::align_val_t{kHugePage}); }

}  // namespace

Scratch::Scratch(size_t bytes) : block_(nullptr), size_(0), asked_(bytes), next_(nullptr) {
  if (bytes == 0) return;
  Pool& from = pool();
  {
    std::lock_guard<std::mutex> lock(from.mutex);
    auto best = from.blocks.end();
    for (auto it = from.blocks.begin(); it != from.blocks.end(); ++it)
      if (it->size >= bytes && (best == from.blocks.end() || it->size < best->size)) best = it;
    if (best != from.blocks.end()) {
      block_ = best->data;
      size_ = best->size;
      from.kept -= size_;
      from.blocks.erase(best);
    }
  }
  if (block_ == nullptr) {
    size_ = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    block_ = allocate(size_);
  }
  next_ = block_;
  forbid(block_, size_);
}

void Scratch::overdrawn() {
  std::fputs("sparse_engine: a kernel took more scratch memory than it asked for\n", stderr);
  std::abort();
}

Scratch::~Scratch() {
  if (block_ == nullptr) return;
  allow(block_, size_);
  Pool& to = pool();
  {
    std::lock_guard<std::mutex> lock(to.mutex);
    if (to.kept + size_ <= kMostKept) {
      to.blocks.push_back({block_, size_});
      to.kept += size_;
      return;
    }
  }
  release(block_);
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
