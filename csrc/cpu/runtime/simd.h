// Fixed-width vectors from the compiler's own vector types, and the three operations on them that
// the language lacks: pairwise sums, transposition, and selection of the native width.
//
// Kernel files are compiled once per instruction set, so nothing here may be emitted as a shared
// symbol: everything is in an anonymous namespace and small enough to inline.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#define SE_INLINE inline __attribute__((always_inline))
// Behind the parameters of a lambda that is called from more than one place of a hot loop.
#define SE_INLINE_LAMBDA __attribute__((always_inline))
// For what runs long enough that a call costs nothing, and would be copied into every caller.
#define SE_NOINLINE __attribute__((noinline))

namespace sparse_engine {
namespace {

// kVectorBytes: the widest vectors; kShuffleBytes: the widest whose lanes are cheap to move about.
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kShuffleBytes = 32;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kShuffleBytes = 32;
#else
constexpr int kVectorBytes = 16;
constexpr int kShuffleBytes = 16;
#endif

template <typename T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <typename T, int L>
struct VecOf {
  typedef T type __attribute__((vector_size(L * sizeof(T))));
};
template <typename T>
struct VecOf<T, 1> {
  using type = T;
};
template <typename T, int L>
using Vec = typename VecOf<T, L>::type;

// Lanes come in runs of D, taken from a and b in turn: each is the sum of its lane and the one D
// further on (for b, D before) in the vector it is taken from.
template <int D, typename T, int L, int... I>
SE_INLINE Vec<T, L> paired_sums(Vec<T, L> a, Vec<T, L> b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (I & D ? L + I : I)...) +
         __builtin_shufflevector(a, b, (I & D ? L + I - D : I + D)...);
}

// The sums of L vectors of L lanes, in order. Every sum is taken over the same tree, so that its
// bits do not depend on its position. A lane that stays where it is costs a blend, not a shuffle.
template <typename T, int L, int N = L>
SE_INLINE Vec<T, L> sums_of(const Vec<T, L> (&v)[N]) {
  if constexpr (N == 1) {
    return v[0];
  } else {
    Vec<T, L> halves[N / 2];
    for (int i = 0; i < N / 2; ++i)
      halves[i] =
          paired_sums<L / N, T, L>(v[2 * i], v[2 * i + 1], std::make_integer_sequence<int, L>());
    return sums_of<T, L, N / 2>(halves);
  }
}

// Lanes [From, From + sizeof...(I)) of v.
template <int From, typename T, int L, int... I>
SE_INLINE auto lanes_of(Vec<T, L> v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, (From + I)...);
}

// The sum over the lanes of one vector, over the same tree.
template <typename T, int L, int D = 1>
SE_INLINE T sum_of_lanes(Vec<T, L> v) {
  if constexpr (L == 1) {
    return v;
  } else if constexpr (D == L) {
    return v[0];
  } else {
    constexpr auto lanes = std::make_integer_sequence<int, L>();
    return sum_of_lanes<T, L, 2 * D>(paired_sums<D, T, L>(v, v, lanes));
  }
}

// [a0, b0, a1, b1, ...] from the halves of a and b that start at lane `From`.
template <int From, typename T, int L, int... I>
SE_INLINE Vec<T, L> interleave(Vec<T, L> a, Vec<T, L> b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (From + I / 2 + (I % 2) * L)...);
}

// Transposes an L x L block: log2(L) rounds of a perfect shuffle of its rows.
template <typename T, int L>
SE_INLINE void transpose_block(Vec<T, L> (&v)[L]) {
  constexpr auto lanes = std::make_integer_sequence<int, L>();
#pragma GCC unroll 8
  for (int round = 1; round < L; round *= 2) {
    Vec<T, L> next[L];
    for (int i = 0; i < L / 2; ++i) {
      next[2 * i] = interleave<0, T, L>(v[i], v[i + L / 2], lanes);
      next[2 * i + 1] = interleave<L / 2, T, L>(v[i], v[i + L / 2], lanes);
    }
    for (int i = 0; i < L; ++i) v[i] = next[i];
  }
}

}  // namespace
}  // namespace sparse_engine
