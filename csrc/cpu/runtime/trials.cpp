#include "runtime/trials.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "sparse_engine/counters.h"

namespace sparse_engine {
namespace {

// The choices of the kinds that ran last. Two kinds may want the same place: the later one gets it,
// and starts anew.
struct Choices {
  static constexpr size_t kPlaces = 1024;
  struct Entry {
    uint64_t key = 0;
    Choice choice;
  };
  std::mutex mutex;
  std::array<Entry, kPlaces> entries;

  Choice& of(uint64_t key) {
    Entry& entry = entries[key % kPlaces];
    if (entry.key != key) entry = {key, {}};
    return entry.choice;
  }
};

// Never destroyed: a thread may still be inside a kernel when the process ends.
Choices& choices() {
  static Choices* all = new Choices;
  return *all;
}

int64_t nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

// The highest three bits: kinds of nearly equal sizes are one, whatever rewiring does to them.
uint64_t rounded(int64_t n) {
  int shift = 0;
  while (n >> shift >= 8) ++shift;
  return static_cast<uint64_t>(n >> shift << shift);
}

uint64_t mixed(uint64_t hash, uint64_t more) {
  hash = (hash ^ more) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

uint64_t key_of(const void* code, const Job& job) {
  const uint64_t hash =
      mixed(reinterpret_cast<uintptr_t>(code), static_cast<uint64_t>(job.threads));
  return std::max<uint64_t>(1, mixed(mixed(hash, rounded(job.work)), rounded(job.steps)));
}

}  // namespace

Way Choice::next(unsigned offered) const {
  const auto is_offered = [&](int way) { return offered >> way & 1; };
  for (int round = 0; round < kRounds; ++round)
    for (int way = 0; way < kWays; ++way)
      if (is_offered(way) && of_[way].runs <= round) return Way(way);
  int best = -1;
  for (int way = 0; way < kWays; ++way)
    if (is_offered(way) && (best < 0 || of_[way].expected < of_[best].expected)) best = way;
  for (int way = 0; way < kWays; ++way)
    if (is_offered(way) && way != best && of_[way].pause <= 0) return Way(way);
  return Way(best);
}

void Choice::took(Way way, double time) {
  Record& own = of_[static_cast<int>(way)];
  double best = time;  // of the other ways
  bool others = false;
  for (Record& other : of_) {
    if (&other == &own || other.runs == 0) continue;
    other.pause -= time;
    best = others ? std::min(best, other.expected) : other.expected;
    others = true;
  }
  own.expected =
      own.runs == 0 || time < own.expected ? time : own.expected + (time - own.expected) / 4;
  own.pause = std::max(kFewestBetween * best, (time - best) / kCostShare);
  ++own.runs;
}

Trial::Trial(const void* code, const Job& job, bool rows, bool columns)
    : way_(Way::kAlone), per_work_(1) {
  if (!rows && !columns) return;
  const auto bit = [](Way way, bool is_offered) { return unsigned{is_offered} << int(way); };
  const unsigned offered =
      bit(Way::kRows, rows) | bit(Way::kColumns, columns) | bit(Way::kAlone, true);
  const int forced = forced_way.load(std::memory_order_relaxed);
  if (forced >= 0) {
    way_ = offered >> forced & 1 ? Way(forced) : rows ? Way::kRows : Way::kColumns;
  } else {
    key_ = key_of(code, job);
    per_work_ = std::max(1., static_cast<double>(job.work) * static_cast<double>(job.steps));
    Choices& all = choices();
    std::lock_guard<std::mutex> lock(all.mutex);
    way_ = all.of(key_).next(offered);
  }
  if (way_ == Way::kAlone) tally(counters.alone);
  if (key_ != 0) began_ = nanoseconds();
}

Trial::~Trial() {
  if (key_ == 0) return;
  const double time = static_cast<double>(nanoseconds() - began_) / per_work_;
  Choices& all = choices();
  std::lock_guard<std::mutex> lock(all.mutex);
  all.of(key_).took(way_, time);
}

}  // namespace sparse_engine
