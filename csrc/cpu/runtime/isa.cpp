// Chooses the instruction set, once, when the library is loaded.
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

struct InstructionSet {
  const char* name;
  bool runs_here;
  Kernels<float> (*float_kernels)();
  Kernels<double> (*double_kernels)();
  Kernels<float, BFloat16> (*bfloat16_kernels)();
};

template <class Isa, class Narrow>
InstructionSet instruction_set(const char* name, bool runs_here) {
  return {name, runs_here, kernels_of<Isa, float, float>, kernels_of<Isa, double, double>,
          kernels_of<Narrow, float, BFloat16>};
}

#if defined(__x86_64__)
bool has_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi2");
}

bool has_v4() {
  return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512cd");
}
#endif

// The build says which sets it holds, from the most widely supported one to the best.
const std::vector<InstructionSet>& built() {
  static const std::vector<InstructionSet> sets = {
#if defined(SPARSE_ENGINE_WITH_BASELINE)
      instruction_set<Baseline, Baseline>("baseline", true),
#endif
#if defined(SPARSE_ENGINE_WITH_V3)
      instruction_set<V3, V3>("x86-64-v3", has_v3()),
#endif
#if defined(SPARSE_ENGINE_WITH_V4)
      instruction_set<V4, V3>("x86-64-v4", has_v4()),
#endif
#if defined(SPARSE_ENGINE_WITH_V4BF16)
      instruction_set<V4, V4Bf16>("x86-64-v4-bf16",
                                  has_v4() && __builtin_cpu_supports("avx512bf16")),
#endif
  };
  return sets;
}

InstructionSet choose() {
  const char* variable = std::getenv("SPARSE_ENGINE_ISA");
  const std::string wanted = variable == nullptr ? "" : variable;
  const InstructionSet* best = nullptr;
  std::string runnable;
  for (const InstructionSet& set : built()) {
    if (!set.runs_here) continue;
    runnable += (runnable.empty() ? "" : ", ") + std::string(set.name);
    if (wanted.empty() || wanted == set.name) best = &set;
  }
  if (runnable.empty())
    throw std::runtime_error("expected a processor with " + built_isa_names() +
                             ", which this library was built for; build it again on this machine, "
                             "or for every processor with SPARSE_ENGINE_ISA_BUILD=all");
  if (best == nullptr)
    throw std::runtime_error("expected SPARSE_ENGINE_ISA to be one of " + runnable +
                             ", which were built and run on this processor, found \"" + wanted +
                             "\"");
  return *best;
}

const InstructionSet& chosen() {
  static const InstructionSet set = choose();
  return set;
}

}  // namespace

const char* isa_name() { return chosen().name; }

std::string built_isa_names() {
  std::string names;
  for (const InstructionSet& set : built())
    names += (names.empty() ? "" : ", ") + std::string(set.name);
  return names;
}

template <>
const Kernels<float>& kernels<float>() {
  static const Kernels<float> table = chosen().float_kernels();
  return table;
}

template <>
const Kernels<double>& kernels<double>() {
  static const Kernels<double> table = chosen().double_kernels();
  return table;
}

template <>
const Kernels<float, BFloat16>& kernels<float, BFloat16>() {
  static const Kernels<float, BFloat16> table = chosen().bfloat16_kernels();
  return table;
}

}  // namespace sparse_engine
