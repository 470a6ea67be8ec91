// Random graphs that keep some of what a given graph has.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "link_set.h"
#include "random.h"
#include "skeleton.h"

namespace sparse_engine {

// A link of a random graph, with the state and value of a link of the given one.
struct Arc {
  int32_t source, target;
  int32_t origin;  // the link's position in the given graph
};

// How much random graphs differ from those that they were made of.
struct Moves {
  int64_t edges = 0;    // links, or mutual pairs where they are moved as one, that could have moved
  int64_t changes = 0;  // moves that changed a graph
};

class NullKind {
 public:
  virtual ~NullKind() = default;

  // Makes a random graph of the given one.
  //   states: of the given graph's links.
  //   arcs: the given graph's links, in order; overwritten.
  //   moves: added to by kinds that make graphs by moves.
  virtual void draw(int64_t nodes, const State* states, std::vector<Arc>& arcs, Random& random,
                    Moves& moves) const = 0;

  // Whether sources and targets stay as they are, in order.
  virtual bool keeps_links() const { return false; }

 protected:
  static bool is_loop(const Arc& arc) { return arc.source == arc.target; }

  static void shuffle_origins(std::vector<Arc>& arcs, size_t first, Random& random) {
    for (size_t i = arcs.size(); i > first + 1; --i)
      std::swap(arcs[i - 1].origin, arcs[first + random.below(i - first)].origin);
  }
};

// The links stay, and what they carry is permuted.
class SignShuffle : public NullKind {
 public:
  void draw(int64_t, const State*, std::vector<Arc>& arcs, Random& random, Moves&) const override {
    shuffle_origins(arcs, 0, random);
  }

  bool keeps_links() const override { return true; }
};

// As many links at random places off the diagonal, where self-loops stay.
class ErdosRenyi : public NullKind {
 public:
  void draw(int64_t nodes, const State*, std::vector<Arc>& arcs, Random& random,
            Moves&) const override {
    const auto first = std::partition(arcs.begin(), arcs.end(), is_loop);
    const uint64_t links = arcs.end() - first, cells = uint64_t(nodes) * (nodes - 1);
    LinkSet taken(links);
    // Floyd's sample of distinct cells needs one draw for each, however full the matrix.
    auto arc = first;
    for (uint64_t cell = cells - links; cell < cells; ++cell, ++arc) {
      uint64_t drawn = random.below(cell + 1);
      if (!taken.insert(drawn)) taken.insert(drawn = cell);
      arc->target = static_cast<int32_t>(drawn / (nodes - 1));
      arc->source = static_cast<int32_t>(drawn % (nodes - 1));
      arc->source += arc->source >= arc->target;  // cells leave out the diagonal
    }
    // Floyd's order is not random: later cells tend to be later.
    shuffle_origins(arcs, first - arcs.begin(), random);
  }
};

}  // namespace sparse_engine
