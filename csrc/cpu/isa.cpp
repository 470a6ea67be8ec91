// Chooses the instruction set, once, when the library is loaded.
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "sparse_engine/kernels.h"

namespace sparse_engine {
namespace {

struct InstructionSet {
  const char* name;
  bool runs_here;
  Kernels<float> (*float_kernels)();
  Kernels<double> (*double_kernels)();
  NarrowKernels (*narrow_kernels)();
};

template <class Isa, class Narrow = Isa>
InstructionSet instruction_set(const char* name, bool runs_here) {
  return {name, runs_here, kernels_of<Isa, float>, kernels_of<Isa, double>,
          narrow_kernels_of<Narrow>};
}

InstructionSet choose() {
#if defined(__x86_64__)
  const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                  __builtin_cpu_supports("avx512cd");
#endif
  const InstructionSet sets[] = {
      instruction_set<Baseline>("baseline", true),
#if defined(__x86_64__)
      instruction_set<V3>("x86-64-v3", __builtin_cpu_supports("avx2") &&
                                           __builtin_cpu_supports("fma") &&
                                           __builtin_cpu_supports("bmi2")),
      instruction_set<V4>("x86-64-v4", v4),
      instruction_set<V4, V4Bf16>("x86-64-v4-bf16", v4 && __builtin_cpu_supports("avx512bf16")),
#endif
  };
  const char* wanted = std::getenv("SPARSE_ENGINE_ISA");
  const InstructionSet* best = nullptr;
  std::string runnable;
  for (const InstructionSet& set : sets) {
    if (!set.runs_here) continue;
    runnable += std::string(runnable.empty() ? "" : ", ") + set.name;
    if (wanted == nullptr || *wanted == '\0' || std::string(wanted) == set.name) best = &set;
  }
  if (best == nullptr)
    throw std::runtime_error("expected SPARSE_ENGINE_ISA to be one of " + runnable +
                             " on this processor, found \"" + wanted + "\"");
  return *best;
}

const InstructionSet& chosen() {
  static const InstructionSet set = choose();
  return set;
}

}  // namespace

const char* isa_name() { return chosen().name; }

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

const NarrowKernels& narrow_kernels() {
  static const NarrowKernels table = chosen().narrow_kernels();
  return table;
}

}  // namespace sparse_engine
