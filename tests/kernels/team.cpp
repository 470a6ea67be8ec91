// Prints the threads of a team that waits for a member that sleeps, which ways a choice takes after
// times that are made up, and how teams are cut in two. Fails where a barrier lets a member through
// early.
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>

#include "runtime/parts.h"

using namespace sparse_engine;

namespace {

constexpr unsigned kAll = 7, kNoColumns = 5;

// How often each way is taken in so many runs, if they take so long: in rows, in columns, alone.
void print_runs(Choice& choice, unsigned offered, int runs, const double (&times)[kWays]) {
  int taken[kWays] = {};
  for (int i = 0; i < runs; ++i) {
    const int way = static_cast<int>(choice.next(offered));
    ++taken[way];
    choice.took(Way(way), times[way]);
  }
  std::printf("%d %d %d\n", taken[0], taken[1], taken[2]);
}

// The same where every fourth run of a way takes longer.
void print_disturbed(double usual, double longer, double alone) {
  Choice choice;
  int taken[kWays] = {};
  double time = 0;
  for (int i = 0; i < 2000; ++i) {
    const int way = static_cast<int>(choice.next(kNoColumns));
    const double took = Way(way) == Way::kAlone ? alone : taken[way] % 4 == 3 ? longer : usual;
    ++taken[way];
    time += took;
    choice.took(Way(way), took);
  }
  std::printf("%d\n", static_cast<int>(100 * time / (2000 * alone)));
}

// The way of a region that sleeps for a while unless it is alone.
template <class Region>
int ways_of(const Region& region, int runs) {
  int alone = 0;
  for (int i = 0; i < runs; ++i)
    run_team(Job{2, 1000, 1}, [&](const Team& team) {
      if (team.rank == 0 && team.size == 1) ++alone;
      region(team);
    });
  return alone;
}

void sleep_for(int milliseconds) {
  const timespec pause{0, milliseconds * 1'000'000};
  nanosleep(&pause, nullptr);
}

}  // namespace

int main() {
  std::atomic<int> size{0}, begun{0};
  set_region_threads(3);
  run_team(2, [&](const Team& team) {
    size = team.size;
    for (int step = 1; step <= 3; ++step) {
      if (team.rank == 0) sleep_for(10);
      ++begun;
      team.barrier();
      if (begun < step * team.size) std::abort();
      team.barrier();
    }
  });
  std::printf("%d\n", size.load());

  Choice choice;
  print_runs(choice, kAll, 6, {3, 3, 3});
  print_runs(choice, kAll, 1000, {1, 2, 4});
  print_runs(choice, kAll, 1000, {8, 8, 4});  // others are busy from now on
  print_runs(choice, kAll, 1000, {1, 2, 4});  // and no longer
  Choice two;
  print_runs(two, kNoColumns, 1000, {1, 0.1, 100});
  print_disturbed(1, 40, 2);
  print_disturbed(1, 1.2, 2);

  std::printf("%d\n", ways_of(
                          [](const Team& team) {
                            if (team.size > 1) sleep_for(4);
                          },
                          20));
  std::printf("%d\n", ways_of(
                          [](const Team& team) {
                            if (team.size == 1) sleep_for(4);
                          },
                          20));
  forced_way = static_cast<int>(Way::kRows);
  std::printf("%d\n", ways_of(
                          [](const Team& team) {
                            if (team.size > 1) sleep_for(4);
                          },
                          5));
  forced_way = static_cast<int>(Way::kAlone);
  std::printf("%d\n", ways_of(
                          [](const Team& team) {
                            if (team.size > 1) sleep_for(4);
                          },
                          5));

  set_region_threads(5);
  for (const int threads : {1, 2, 5}) {
    std::atomic<int> members[2]{}, sizes[2]{};
    Parts parts(2);
    run_team(threads, [&](const Team& all) {
      parts.each(all, [&](int part, const Team& team) {
        ++members[part];
        team.barrier();
        if (members[part] != team.size) std::abort();
        sizes[part] = team.size;
      });
    });
    std::printf("%d %d\n", members[0].load(), members[1].load());
    if (members[0] != sizes[0] || members[1] != sizes[1]) std::abort();
  }
}
