// The barrier of a cooperative grid.
#pragma once

#include "cuda_runtime.h"

namespace cooperative_groups {

struct grid_group {
  void sync() const { simt::wait(simt::Scope::kGrid); }
};

inline grid_group this_grid() { return {}; }

}  // namespace cooperative_groups
