// The ways in which threads may share a parallel region. The results have the same bits in each.
#pragma once

#include <atomic>

namespace sparse_engine {

// In the order in which they are tried.
enum class Way { kRows, kColumns, kAlone };

constexpr int kWays = 3;
constexpr const char* kWayNames[kWays] = {"rows", "columns", "alone"};

// The number of the way that every region takes where it can, or -1: the quickest one.
inline std::atomic<int> forced_way{-1};

}  // namespace sparse_engine
