// Notices when other processes leave a team so little of the processors that its members wait for
// each other most of the time. One thread is quicker then, and gives the same bits.
#pragma once

#include <atomic>
#include <cstdint>

namespace sparse_engine {

// What a parallel region had of the processors.
class Share {
 public:
  Share();
  // A member's part of the region begins, and ends.
  static int64_t begin();
  void end(int64_t begun);
  // Tells the process whether the region was crowded out; it is over.
  void report() const;

 private:
  int64_t started_;
  std::atomic<int64_t> most_{0};  // nanoseconds that the busiest member ran
};

// Whether the next region should have a single thread: for some regions after one that was crowded
// out, for twice as many after each that follows.
bool stays_alone();

}  // namespace sparse_engine
