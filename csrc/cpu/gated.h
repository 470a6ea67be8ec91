// What the time loops of the cells with gates, gated_forward.h and gated_backward.h, have in
// common. A unit's gates are rows of one weight; they are multiplied one after the other, and the
// cell is computed while their sums are in registers.
//
// A cell is a class of
//   kGates, kSaved: gates, and numbers to save, of a unit;
//   kShared: the first so many gates only depend on v + u, so that both have the same gradient;
//   kMemory: the place among what is saved of a c that is carried from step to step, or -1;
//   forward(v, u, carried, saved): from the input's and the recurrent contribution to every gate.
//     Takes c over to the next step in `carried` (without a c, it holds the h before), fills
//     `saved`, and returns h;
//   backward(saved, dh, before, carried, du, dv): from the gradient of h to those of u and v. Of
//   dv, the
//     shared gates are left out.
//     `before` is c (without one, h) before the step; `carried` is what reaches the gradient of c,
//     or of h, other than by the weight.
#pragma once

#include <type_traits>

#include "activation.h"
#include "sequence.h"
#include "sparse_engine/gated.h"

namespace sparse_engine {
namespace {

// Elements of one gate in the tile of a team member.
template <int W>
constexpr int64_t kGateTile = static_cast<int64_t>(kTileRows) * W;

// So many units go through projection, product and cell together: all their gates stay in the
// first-level cache.
constexpr int kUnitsTogether = 32;

// What the units save at one step: [hidden, S, batch]. `Number` is const where it is only read.
template <class Number, int L, int S>
struct Saved {
  using T = std::remove_const_t<Number>;

  Number* data;
  int64_t hidden, batch;

  // Number s of a unit, from column n on.
  Number* at(int64_t unit, int s, int64_t n) const { return data + (unit * S + s) * batch + n; }
  SE_INLINE Vec<T, L> read(int64_t unit, int s, int64_t n) const {
    return load_first<T, L>(at(unit, s, n), batch - n);
  }
  SE_INLINE void write(int64_t unit, int s, int64_t n, Vec<T, L> v) const {
    store_first<T, L>(at(unit, s, n), v, batch - n);
  }
  // Asks for number s of `columns` columns from n on, some units before they are read: one number
  // of many is not what hardware foresees.
  SE_INLINE void fetch(int64_t unit, int s, int64_t n, int columns) const {
    constexpr int64_t kAhead = 8;
    if (unit + kAhead >= hidden) return;
    for (int line = 0; line < columns; line += 64 / static_cast<int>(sizeof(T)))
      __builtin_prefetch(at(unit + kAhead, s, n + line));
  }
};

// Step t of an array of them.
template <int L, int S, class Number, typename T, int W>
inline Saved<Number, L, S> saved_at(const Sequence<T, W>& seq, Number* array, int64_t hidden,
                                    int64_t t) {
  return {array + seq.row(t) * hidden * S, hidden, seq.running(t)};
}

}  // namespace
}  // namespace sparse_engine
