// Included before every binding: its operations are registered as those of another library, where
// CPU tensors take the place of CUDA ones.
#pragma once

#include <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_FRAGMENT
#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_FRAGMENT(library, m) \
  _STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine_simulated, m, C10_UID)
#define STABLE_TORCH_LIBRARY_IMPL(library, key, m) SIMULATED_IMPL_##key(m, C10_UID)
#define SIMULATED_IMPL_CUDA(m, uid) _STABLE_TORCH_LIBRARY_IMPL(sparse_engine_simulated, CPU, m, uid)
#define SIMULATED_IMPL_CPU(m, uid)              \
  [[maybe_unused]] static void C10_CONCATENATE( \
      not_here_, uid)([[maybe_unused]] torch::stable::detail::StableLibrary & m)
