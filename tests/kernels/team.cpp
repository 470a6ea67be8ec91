// Prints the threads of a team that waits for a member that sleeps, for how many regions teams have
// one thread after times that are made up, and how teams are cut in two. Fails where a barrier lets
// a member through early.
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>

#include "runtime/parts.h"

using namespace sparse_engine;

namespace {

struct Times {
  int64_t took, most;  // in milliseconds
};

constexpr int64_t kMillisecond = 1'000'000;

int regions_alone() {
  int count = 0;
  while (stays_alone()) ++count;
  return count;
}

int judged(int64_t took, int64_t most) {
  judge(took * kMillisecond, most * kMillisecond);
  return regions_alone();
}

}  // namespace

int main() {
  std::atomic<int> size{0}, begun{0};
  set_region_threads(3);
  run_team(2, [&](const Team& team) {
    size = team.size;
    for (int step = 1; step <= 3; ++step) {
      const timespec pause{0, 10 * kMillisecond};
      if (team.rank == 0) nanosleep(&pause, nullptr);
      ++begun;
      team.barrier();
      if (begun < step * team.size) std::abort();
      team.barrier();
    }
  });
  std::printf("%d %d\n", size.load(), regions_alone());
  for (const auto [took, most] : {Times{100, 60}, {4, 0}, {100, 40}, {100, 40}, {100, 40}})
    std::printf("%d\n", judged(took, most));
  judge(100 * kMillisecond, 60 * kMillisecond);
  std::printf("%d\n", judged(100, 40));
  for (int i = 0; i < 8; ++i) judged(100, 40);
  std::printf("%d\n", judged(100, 40));
  while (stays_alone()) continue;
  crowding = false;
  std::printf("%d\n", judged(100, 40));
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
