// What the time loops of all recurrent cells share: how a step of a [steps, batch, features] array
// becomes panels, and how the panels are cut into tiles.
#pragma once

#include <algorithm>
#include <limits>

#include "runtime/links.h"
#include "runtime/memory.h"
#include "runtime/panel.h"
#include "runtime/parts.h"

namespace sparse_engine {
namespace {

// The state of all units at one step: panels [panel, unit, W], kept as T.
template <typename T, int W>
struct State {
  T* data;
  int64_t units;

  T* panel(int64_t q) const { return data + q * units * W; }
  T* row(int64_t q, int64_t unit) const { return data + (q * units + unit) * W; }
};

// The states of the last few steps; step t takes the place of step t - size.
template <typename T, int W>
class Ring {
 public:
  Ring(Scratch& scratch, int64_t size, int64_t units, int64_t panels)
      : data_(scratch.take<T>(size * units * panels * W)),
        size_(size),
        units_(units),
        panels_(panels) {}

  static size_t bytes(int64_t size, int64_t units, int64_t panels) {
    return Scratch::bytes_of<T>(size * units * panels * W);
  }

  // t >= -1
  State<T, W> at(int64_t t) const {
    return {data_ + (t + size_) % size_ * units_ * panels_ * W, units_};
  }

 private:
  T* data_;
  int64_t size_, units_, panels_;
};

// The sequences of a batch. Where they have different lengths, they are packed: the longest comes
// first, step t has the rows of those that are still running only, and follows on step t - 1
// without a gap. Of a panel, a prefix of the columns is running. Where episodes begin, the state
// before a step is zeros: what hands it on from step to step sets those columns back.
template <typename T, int W>
struct Sequence {
  int64_t batch, panels;
  int64_t steps = std::numeric_limits<int64_t>::max();
  const int64_t* first_row = nullptr;  // [steps + 1], where each step begins; or null: none ends
  const bool* resets = nullptr;        // [steps, batch], where episodes begin; or null: nowhere
  int64_t first_panel = 0;             // those before it, and from `panels` on, are left to others

  // The same sequences, with the panels of one of so many equal parts only.
  Sequence part(int index, int parts) const {
    Sequence own = *this;
    own.first_panel = panels * index / parts;
    own.panels = panels * (index + 1) / parts;
    return own;
  }

  int columns(int64_t q) const { return static_cast<int>(std::min<int64_t>(W, batch - q * W)); }

  // Where step t begins in a [rows, units] array of all steps, and how many rows it has.
  int64_t row(int64_t t) const { return first_row ? first_row[t] : t * batch; }
  int64_t running(int64_t t) const { return first_row ? row(t + 1) - row(t) : batch; }

  // Columns of panel q that are running at step t; none after the last.
  int columns(int64_t q, int64_t t) const {
    if (t >= steps) return 0;
    return static_cast<int>(std::clamp<int64_t>(running(t) - q * W, 0, W));
  }

  // Panel q of step t of an array of all steps, or of a [batch, units] array as its step 0.
  template <typename U>
  Dense<U> step(U* array, int64_t units, int64_t t, int64_t q) const {
    return {array + (row(t) + q * W) * units, 1, units};
  }

  // Reads all units of step t; a barrier must follow before another member's share is read.
  template <typename A>
  void pack_step(const Team& team, const A* array, int64_t t, const State<A, W>& state) const {
    for (int64_t q = first_panel; q < panels && columns(q, t) > 0; ++q)
      pack<T, W>(team, step(array, state.units, t, q), state.units, columns(q, t), state.panel(q));
  }

  // Writes zeros over the columns of panel q whose episodes begin at step t, in `count` rows of
  // each of some panels.
  template <typename... U>
  SE_INLINE void set_back(int64_t t, int64_t q, int64_t count, U*... rows) const {
    if (resets && t < steps) (clear_columns(t, q, count, rows), ...);
  }

  // A vector of the columns from n on, of all panels, with zeros where episodes begin at step t.
  template <int L>
  SE_INLINE Vec<T, L> set_back(int64_t t, int64_t n, Vec<T, L> v) const {
    return resets && t < steps ? cleared<L>(t, n, v) : v;
  }

  // body(panel, first row, number of rows) for every tile of `rows`.
  template <class Body>
  SE_INLINE void tiles(const Rows& rows, const Body& body) const {
    tiles(rows, 0, body);
  }

  // The same for panels of which something is running at step t.
  template <class Body>
  SE_INLINE void tiles(const Rows& rows, int64_t t, const Body& body) const {
    for (int64_t q = first_panel; q < panels && columns(q, t) > 0; ++q)
      for (int64_t first = rows.first; first < rows.last; first += kTileRows)
        body(q, first, static_cast<int>(std::min<int64_t>(kTileRows, rows.last - first)));
  }

 private:
  template <typename U>
  SE_NOINLINE void clear_columns(int64_t t, int64_t q, int64_t count, U* rows) const {
    const bool* begins = resets + t * batch + q * W;
    for (int column = 0; column < columns(q); ++column)
      for (int64_t r = 0; begins[column] && r < count; ++r) rows[r * W + place<U, W>(column)] = U{};
  }

  template <int L>
  SE_NOINLINE Vec<T, L> cleared(int64_t t, int64_t n, Vec<T, L> v) const {
    const bool* begins = resets + t * batch + n;
    if constexpr (L == 1) {
      if (n < batch && begins[0]) v = T(0);
    } else {
      for (int l = 0; l < L && n + l < batch; ++l)
        if (begins[l]) v[l] = T(0);
    }
    return v;
  }
};

// Rows [first, first + count) of panel q of a [batch, units] array, or zeros where it is null.
template <typename T, int W, typename From, typename To>
inline void read_initial(const Sequence<T, W>& seq, const From* array, const State<To, W>& to,
                         int64_t q, int64_t first, int count) {
  if (array)
    read_tile<T, W>(seq.step(array, to.units, 0, q), first, count, seq.columns(q),
                    to.row(q, first));
  else
    std::fill(to.row(q, first), to.row(q, first + count), To{});
}

// Links that take as long as the rest of a gate's step, its activation and transpositions, as
// measured. Shares of rows follow it, since rewiring leaves rows of very different lengths.
constexpr int64_t kLinksPerGate = 28;

// The threads that pay for the steps of a recurrence, and its work. The rest of a unit's step
// counts as 8 links here: the least work for which job_of() adds a thread was measured with this
// number.
inline Job job_of_steps(int threads, int64_t links, int64_t units, int64_t batch, int64_t steps) {
  constexpr int64_t kLinksPerUnit = 8;
  return job_of(threads, (links + units * kLinksPerUnit) * batch, steps);
}

}  // namespace
}  // namespace sparse_engine
