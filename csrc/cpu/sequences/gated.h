// What the time loops of the cells with gates, gated_forward.h and gated_backward.h, have in
// common. A unit's gates are rows of one weight; they are multiplied one after the other, and the
// cell (cells/gated.h says what it provides) is computed while their sums are in registers.
#pragma once

#include <type_traits>

#include "cells/gated.h"
#include "runtime/activation.h"
#include "sequences/sequence.h"
#include "sparse_engine/gated.h"

namespace sparse_engine {
namespace {

// Elements of one gate in the tile of a team member.
template <int W>
constexpr int64_t kGateTile = static_cast<int64_t>(kTileRows) * W;

// So many units go through projection, product and cell together: all their gates stay in the
// first-level cache.
constexpr int kUnitsTogether = 32;

// A sigmoid as it is rounded: above 1/2, minus its distance from 1. That is what its slope is made
// of and by what a memory fades over many steps, and little of it would be left in y itself.
template <typename T, int L>
SE_INLINE Vec<T, L> folded(Vec<T, L> y) {
  return y > T(0.5) ? -(T(1) - y) : y;
}

// Back again. By the sign bit: 1 is -0.
template <typename T, int L>
SE_INLINE Vec<T, L> unfolded(Vec<T, L> kept) {
  Vec<int32_t, L> bits;
  std::memcpy(&bits, &kept, sizeof bits);
  return bits < 0 ? T(1) + kept : kept;
}

// What the units of a cell save at one step: [hidden, S, batch]. `Number` is const where it is only
// read.
template <class Cell, typename T, int L, class Number>
struct Saved {
  static constexpr int S = Cell::kSaved;
  static constexpr bool kRounded = !std::is_same_v<T, std::remove_const_t<Number>>;

  Number* data;
  int64_t hidden, batch;

  // Number s of a unit, from column n on.
  Number* at(int64_t unit, int s, int64_t n) const { return data + (unit * S + s) * batch + n; }
  SE_INLINE Vec<T, L> read(int64_t unit, int s, int64_t n) const {
    const Vec<T, L> v = load_first<T, L>(at(unit, s, n), batch - n);
    if constexpr (kRounded)
      if (Cell::is_sigmoid(s)) return unfolded<T, L>(v);
    return v;
  }
  SE_INLINE void write(int64_t unit, int s, int64_t n, Vec<T, L> v) const {
    if constexpr (kRounded)
      if (Cell::is_sigmoid(s)) v = folded<T, L>(v);
    store_first<T, L>(at(unit, s, n), v, batch - n);
  }
  // Asks for `count` numbers of the next unit, from number s on, in columns [n, n + columns). They
  // come from far away, and the products between two units keep hardware from foreseeing them;
  // much earlier, and those products would drive them out again.
  SE_INLINE void fetch_next(int64_t unit, int s, int count, int64_t n, int columns) const {
    if (unit + 1 >= hidden) return;
    for (int i = s; i < s + count; ++i)
      for (int line = 0; line < columns; line += 64 / static_cast<int>(sizeof(Number)))
        __builtin_prefetch(at(unit + 1, i, n + line), 0, 0);
  }
};

// Step t of an array of them.
template <class Cell, int L, class Number, typename T, int W>
inline Saved<Cell, T, L, Number> saved_at(const Sequence<T, W>& seq, Number* array, int64_t hidden,
                                          int64_t t) {
  return {array + seq.row(t) * hidden * Cell::kSaved, hidden, seq.running(t)};
}

}  // namespace
}  // namespace sparse_engine
