// Sigmoids as they are kept: folded, as gated.h says, where that is in bfloat16.
#pragma once

#include "sequences/gated.h"

namespace sparse_engine {
namespace {

template <typename T, int L, typename A>
SE_INLINE Vec<T, L> kept_sigmoid(Vec<T, L> y) {
  if constexpr (std::is_same_v<T, A>)
    return y;
  else
    return folded<T, L>(y);
}

template <typename T, int L, typename A>
SE_INLINE Vec<T, L> from_kept_sigmoid(Vec<T, L> kept) {
  if constexpr (std::is_same_v<T, A>)
    return kept;
  else
    return unfolded<T, L>(kept);
}

}  // namespace
}  // namespace sparse_engine
