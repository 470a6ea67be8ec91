// Graphs of few nodes: ways from one to any other whose nodes have as many links of each kind.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

#include "random.h"

namespace sparse_engine {

// A matrix of symbols, of which every row and column is to have as many of each as at first; the
// diagonal is left alone. Symbols are those of single places, or, in pairs, of what node i sees of
// node j, which is then also what j sees of i: two states in 1, 2, 3, or 0 for no link.
//
// A random walk goes through all matrices of the same symbols, those in which columns have too many
// of one and too few of another the less often the more so, and comes back to one without such
// defects: as often from one to another as from that to the first, so that all are as likely.
class SmallGraph {
 public:
  static constexpr int kSymbols = 16;

  // What a node sees of another, of the link to it and the one from it.
  static uint8_t pair(int out, int in) { return static_cast<uint8_t>(4 * out + in); }
  static uint8_t reversed(uint8_t symbol) { return pair(symbol % 4, symbol / 4); }

  SmallGraph(int nodes, bool pairs)
      : nodes_(nodes), pairs_(pairs), symbols_(size_t(nodes) * nodes), surplus_(nodes) {}

  uint8_t at(int row, int column) const { return symbols_[size_t(row) * nodes_ + column]; }

  void set(int row, int column, uint8_t symbol) {
    symbols_[size_t(row) * nodes_ + column] = symbol;
    if (pairs_) symbols_[size_t(column) * nodes_ + row] = reversed(symbol);
  }

  // Exchanges what two rows have in two columns, where they have it crosswise, and returns whether
  // they have: the move by which most matrices are soon far from the first.
  bool interchange(Random& random) {
    const int a = node(random), b = node(random), c = node(random), d = node(random);
    if (a == c || b == d || a == b || a == d || c == b || c == d) return false;
    const uint8_t x = at(a, b), y = at(a, d);
    if (x == y || at(c, d) != x || at(c, b) != y) return false;
    set(a, b, y);
    set(c, d, y);
    set(a, d, x);
    set(c, b, x);
    return true;
  }

  // Returns whether the walk, of at most `steps` steps, has come back to another matrix.
  bool walk(int steps, Random& random) {
    const std::vector<uint8_t> before = symbols_;
    do step(random);
    while (defects_ > 0 && --steps > 0);
    if (defects_ > 0) {
      symbols_ = before;
      for (auto& each : surplus_) each.fill(0);
      defects_ = 0;
    }
    return symbols_ != before;
  }

 private:
  int node(Random& random) const { return static_cast<int>(random.below(nodes_)); }

  void step(Random& random) {
    const int a = node(random), b = node(random), c = node(random);
    if (a == b || a == c) return;
    if (b != c)
      exchange(a, b, c, random);
    else if (pairs_)
      turn(a, b, random);
  }

  // Exchanges two places of a row.
  void exchange(int a, int b, int c, Random& random) {
    const uint8_t x = at(a, b), y = at(a, c);
    if (x == y) return;
    const int before = defects_;
    change(b, seen(x), seen(y));
    change(c, seen(y), seen(x));
    if (stays(before, random)) {
      set(a, b, y);
      set(a, c, x);
    } else {
      change(b, seen(y), seen(x));
      change(c, seen(x), seen(y));
    }
  }

  // Turns what is between two nodes round.
  void turn(int a, int b, Random& random) {
    const uint8_t x = at(a, b), y = reversed(x);
    if (x == y) return;
    const int before = defects_;
    change(a, x, y);
    change(b, y, x);
    if (stays(before, random)) {
      set(a, b, y);
    } else {
      change(a, y, x);
      change(b, x, y);
    }
  }

  uint8_t seen(uint8_t symbol) const { return pairs_ ? reversed(symbol) : symbol; }

  void change(int node, uint8_t from, uint8_t to) {
    for (const auto& [symbol, by] : {std::pair{from, -1}, std::pair{to, 1}}) {
      int& surplus = surplus_[node][symbol];
      defects_ += std::abs(surplus + by) - std::abs(surplus);
      surplus += by;
    }
  }

  // Metropolis' rule: each two defects are a quarter as likely.
  bool stays(int before, Random& random) const {
    return defects_ <= before || random.below(uint64_t{1} << (defects_ - before)) == 0;
  }

  int nodes_;
  bool pairs_;
  std::vector<uint8_t> symbols_;
  std::vector<std::array<int, kSymbols>> surplus_;
  int defects_ = 0;
};

}  // namespace sparse_engine
