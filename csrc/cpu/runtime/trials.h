// Finds out while a program runs whether a parallel region is quickest with one thread, with rows
// shared by threads, or with columns shared. Which of them is depends on how far apart processors
// are and on what else they do, and both change while a program runs.
#pragma once

#include <cstdint>

#include "sparse_engine/ways.h"

namespace sparse_engine {

// The threads that a region may have, and its work: so many multiply-adds between two barriers, and
// so many times.
struct Job {
  int threads;
  int64_t work;
  int64_t steps = 1;
};

// Chooses among ways by the times that they took. After two rounds through all of them the quickest
// runs, and another is tried again as soon as what its last run cost more is a small part of the
// time that has passed since: however slow a way is, to try it costs a sixty-fourth.
class Choice {
 public:
  // The way to run next, of those that are offered: bit w for way w.
  Way next(unsigned offered) const;
  void took(Way way, double time);

 private:
  static constexpr int kRounds = 2;
  static constexpr double kFewestBetween = 8, kCostShare = 1. / 64;

  struct Record {
    int runs = 0;
    double expected = 0;  // time of the next run: the quickest run, or longer after slower ones
    double pause = 0;     // time until it is tried again
  };
  Record of_[kWays];
};

// One run of a region: it chooses the way when it is made and takes the time until it ends. The
// times of regions of the same code, threads, work and steps are compared.
class Trial {
 public:
  // `code` is an address of the region's own. Besides one thread, rows or columns may be shared.
  Trial(const void* code, const Job& job, bool rows, bool columns);
  ~Trial();
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  Way way() const { return way_; }

 private:
  uint64_t key_ = 0;  // of the kind; 0 where there is nothing to find out
  Way way_;
  double per_work_;  // what times are divided by, so that sequences of nearly equal lengths compare
  int64_t began_;
};

}  // namespace sparse_engine
