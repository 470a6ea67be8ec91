// Notices when other processes leave a team so little of the processors that its members wait for
// each other most of the time. One thread is quicker then, and gives the same bits.
#pragma once

#include <atomic>
#include <cstdint>

namespace sparse_engine {

// Measures the fraction of a parallel region's time in which its threads had a processor.
class Share {
 public:
  Share();
  // A member's part of the region begins, and ends.
  static int64_t begin();
  void end(int64_t begun);
  // Judges the region, which is over.
  void report() const;

 private:
  int64_t started_;
  std::atomic<int64_t> most_{0};  // nanoseconds that the busiest member ran
};

// Decides whether a region was crowded out, from the nanoseconds that it took and those that its
// busiest member ran. The next 8 regions then have a single thread, and twice as many, up to 256,
// after each further region that is crowded out before one that is not.
void judge(int64_t took, int64_t most);

// Whether the next region has a single thread; to be asked once for each region.
bool stays_alone();

}  // namespace sparse_engine
