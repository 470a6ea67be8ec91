// Threads of a kernel as fibers.
#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda_runtime.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace sparse_engine::cuda {
alignas(16) thread_local unsigned char shared_bytes[simt::kMostShared];
}

namespace simt {
namespace {

constexpr size_t kStack = 64 << 10;
constexpr int kWarp = 32;

// Threads that wait for each other.
struct Barrier {
  int size = 0;
  std::vector<int> waiters;
};

// A warp-wide operation that some lanes have reached.
struct Exchange {
  unsigned mask;
  struct Offer {
    int fiber;
    const void* own;
    void* other;
    int from;
  };
  std::vector<Offer> offers;
};

struct Fiber {
  ucontext_t context;  // where it starts
  jmp_buf place;       // where it goes on: unlike a switch of contexts, a jump calls no system
  bool started = false;
  unsigned block, thread;
};

// All threads that are alive at once: one block, or the whole of a cooperative grid.
class Team {
 public:
  Team(unsigned first_block, unsigned blocks, unsigned threads, size_t shared,
       const std::function<void()>& body)
      : body_(body), threads_(static_cast<int>(threads)), first_block_(first_block) {
    const int count = static_cast<int>(blocks * threads);
    warps_per_block_ = (threads_ + kWarp - 1) / kWarp;
    fibers_.resize(count);
    warps_.resize(blocks * warps_per_block_);
    blocks_.resize(blocks);
    shared_.assign(blocks, std::vector<unsigned char>(shared, 0xff));
    std::memcpy(sparse_engine::cuda::shared_bytes, shared_[0].data(), shared);
    grid_.size = count;
    if (stacks_.size() < count * kStack) stacks_.resize(count * kStack);
    for (int i = 0; i < count; ++i) {
      fibers_[i].block = first_block + i / threads;
      fibers_[i].thread = i % threads;
      ++blocks_[i / threads_].size;
      prepare(i);
    }
  }

  // Runs all fibers to their end. False where some wait at a barrier that the others never reach.
  bool run() {
    const char* order = std::getenv("SIMT_ORDER");
    descending_ = order && std::string(order) == "descending";
    for (int i = 0; i < static_cast<int>(fibers_.size()); ++i) ready_.push_back(i);
    left_ = static_cast<int>(fibers_.size());
    current_team = this;
    while (!ready_.empty()) {
      // Those that are ready now run in turn; those that they release, in the next round.
      std::vector<int> round;
      round.swap(ready_);
      for (size_t k = 0; k < round.size(); ++k)
        resume(round[descending_ ? round.size() - 1 - k : k]);
    }
    current_team = nullptr;
    return left_ == 0;
  }

  void wait(Scope scope) {
    Barrier& barrier = scope == Scope::kBlock ? blocks_[running_ / threads_] : grid_;
    barrier.waiters.push_back(running_);
    if (static_cast<int>(barrier.waiters.size()) == barrier.size) {
      ready_.insert(ready_.end(), barrier.waiters.begin(), barrier.waiters.end());
      barrier.waiters.clear();
    }
    yield();
  }

  void exchange(unsigned mask, const void* own, void* other, size_t bytes, int from) {
    std::vector<Exchange>& waiting =
        warps_[running_ / threads_ * warps_per_block_ + running_ % threads_ / kWarp];
    size_t at = 0;
    while (at < waiting.size() && waiting[at].mask != mask) ++at;
    if (at == waiting.size()) waiting.push_back({mask, {}});
    Exchange& exchange = waiting[at];
    exchange.offers.push_back({running_, own, other, from});
    if (static_cast<int>(exchange.offers.size()) == __builtin_popcount(mask)) {
      for (const Exchange::Offer& to : exchange.offers)
        for (const Exchange::Offer& giver : exchange.offers)
          if (static_cast<int>(fibers_[giver.fiber].thread % kWarp) == to.from)
            std::memcpy(to.other, giver.own, bytes);
      for (const Exchange::Offer& offer : exchange.offers) ready_.push_back(offer.fiber);
      waiting.erase(waiting.begin() + at);
    }
    yield();
  }

  static Team* current_team;

 private:
  void yield() {
    if (_setjmp(fibers_[running_].place) == 0) _longjmp(scheduler_, 1);
  }

  static void enter() {
    Team& team = *current_team;
    team.body_();
    --team.left_;
    team.yield();
  }

  void prepare(int i) {
    getcontext(&fibers_[i].context);
    fibers_[i].context.uc_stack = {stacks_.data() + i * kStack, 0, kStack};
    fibers_[i].context.uc_link = nullptr;
    makecontext(&fibers_[i].context, enter, 0);
  }

  // Blocks take turns at the one array that kernels see.
  void show_shared_memory_of(unsigned block) {
    unsigned char* seen = sparse_engine::cuda::shared_bytes;
    std::vector<unsigned char>& own = shared_[block - first_block_];
    std::vector<unsigned char>& other = shared_[shown_];
    if (&own == &other) return;
    std::memcpy(other.data(), seen, other.size());
    std::memcpy(seen, own.data(), own.size());
    shown_ = block - first_block_;
  }

  void resume(int i) {
    running_ = i;
    show_shared_memory_of(fibers_[i].block);
    blockIdx = fibers_[i].block;
    threadIdx = fibers_[i].thread;
    if (_setjmp(scheduler_) != 0) return;
    if (fibers_[i].started) _longjmp(fibers_[i].place, 1);
    fibers_[i].started = true;
    setcontext(&fibers_[i].context);
  }

  static std::vector<char> stacks_;
  const std::function<void()>& body_;
  const int threads_;
  const unsigned first_block_;
  unsigned shown_ = 0;
  std::vector<std::vector<unsigned char>> shared_;
  int warps_per_block_, running_ = 0, left_ = 0;
  bool descending_ = false;
  jmp_buf scheduler_;
  std::vector<Fiber> fibers_;
  std::vector<std::vector<Exchange>> warps_;
  std::vector<Barrier> blocks_;
  Barrier grid_;
  std::vector<int> ready_;
};

Team* Team::current_team = nullptr;
std::vector<char> Team::stacks_;

}  // namespace

void wait(Scope scope) { Team::current_team->wait(scope); }

void exchange(unsigned mask, const void* own, void* other, size_t bytes, int from) {
  Team::current_team->exchange(mask, own, other, bytes, from);
}

int lane() { return static_cast<int>(threadIdx.x) % kWarp; }

bool run(dim3 grid, dim3 block, size_t shared, bool cooperative,
         const std::function<void()>& body) {
  gridDim = grid;
  blockDim = block;
  if (cooperative) return Team(0, grid.x, block.x, shared, body).run();
  for (unsigned b = 0; b < grid.x; ++b)
    if (!Team(b, 1, block.x, shared, body).run()) return false;
  return true;
}

namespace {

bool is_set(const char* name, const char* value) {
  const char* found = std::getenv(name);
  return found && std::string(found) == value;
}

cudaError_t last_error = cudaSuccess;

}  // namespace

cudaError_t trouble(bool cooperative) {
  if (is_set("SIMT_FAILS", "1")) return cudaErrorLaunchFailure;
  const bool busy = cooperative && is_set("SIMT_COOPERATIVE", "busy");
  return busy ? cudaErrorCooperativeLaunchTooLarge : cudaSuccess;
}

cudaError_t noted(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace simt

cudaError_t cudaGetLastError() { return std::exchange(simt::last_error, cudaSuccess); }

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorLaunchFailure ? "threads missed a barrier" : "invalid configuration";
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  switch (which) {
    case cudaDevAttrMultiProcessorCount:
      *value = 2;
      break;
    case cudaDevAttrCooperativeLaunch:
      *value = !simt::is_set("SIMT_COOPERATIVE", "0");
      break;
    case cudaDevAttrL2CacheSize:
      *value = 16 << 10;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = simt::kMostShared;
      break;
  }
  return cudaSuccess;
}
