// Parts of the columns of a batch, each gone through by a team of its own.
#pragma once

#include <cstdint>

#include "runtime/team.h"
#include "sparse_engine/counters.h"

namespace sparse_engine {
namespace {

// Cuts a batch in two, so that threads share columns rather than rows: those of different parts
// neither wait for each other after each step nor read what the others have just written.
class Parts {
 public:
  static constexpr int kMost = 2;

  explicit Parts(int count) : count_(count) {}

  int count() const { return count_; }

  // Calls body(part, team) for the part of the columns that is this member's, on the team that it
  // shares the part with. Where members are fewer than parts, all go through every part.
  template <class Body>
  void each(const Team& all, const Body& body) {
    if (count_ == 1 || all.size < count_) {
      for (int part = 0; part < count_; ++part) body(part, all);
      return;
    }
    tally(counters.parts);
    const int part = static_cast<int>(int64_t{all.rank} * count_ / all.size);
    const int first = first_of(part, all.size);
    body(part, Team{all.rank - first, first_of(part + 1, all.size) - first, &gates_[part]});
  }

 private:
  // The first of `size` members who belongs to a part.
  int first_of(int part, int size) const { return (part * size + count_ - 1) / count_; }

  const int count_;
  Barrier gates_[kMost];
};

// Whether so many panels of columns can be gone through in parts, and their multiply-adds repay a
// thread and the sums that each part has of its own.
inline bool parts_repay(int64_t panels, int64_t steps, int64_t work) {
  constexpr int64_t kSteps = 8;
  return panels > 0 && panels % Parts::kMost == 0 && steps >= kSteps &&
         job_of_region(Parts::kMost, steps * work).threads == Parts::kMost;
}

// The threads that pay for steps of so much work, where teams go through parts of the columns.
inline int threads_of_parts(int threads, int64_t work) {
  return std::min(threads, Parts::kMost * useful_threads(threads, work / Parts::kMost));
}

}  // namespace
}  // namespace sparse_engine
