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

class NullKind {
 public:
  virtual ~NullKind() = default;

  // Makes a random graph of the given one.
  //   states: of the given graph's links.
  //   arcs: the given graph's links, in order; overwritten.
  virtual void draw(int64_t nodes, const State* states, std::vector<Arc>& arcs,
                    Random& random) const = 0;

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
  void draw(int64_t, const State*, std::vector<Arc>& arcs, Random& random) const override {
    shuffle_origins(arcs, 0, random);
  }

  bool keeps_links() const override { return true; }
};

// As many links at random places off the diagonal, where self-loops stay.
class ErdosRenyi : public NullKind {
 public:
  void draw(int64_t nodes, const State*, std::vector<Arc>& arcs, Random& random) const override {
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

// Double edge swaps: a->b and c->d become a->d and c->b, where that makes no self-loop and nothing
// twice. A swap is as likely as its undoing, so that all graphs that can be reached are.
class DegreePreserving : public NullKind {
 public:
  // keep_mutual: swap single links with single links and mutual pairs with mutual pairs, and make
  //   none of the other; otherwise only single directions count.
  // keep_signs: swap only what has the same states; otherwise these go with the source.
  // proposals: for each link.
  DegreePreserving(bool keep_mutual, bool keep_signs, int proposals)
      : keep_mutual_(keep_mutual), keep_signs_(keep_signs), proposals_(proposals) {}

  void draw(int64_t nodes, const State* states, std::vector<Arc>& arcs,
            Random& random) const override {
    std::vector<Edge> edges = edges_of(states, arcs);
    LinkSet taken(edges.size());
    for (const Edge& edge : edges) taken.insert(key(edge.tail, edge.head, nodes));
    for (int round = 0; round < proposals_; ++round)
      for (size_t first = 0, last; first < edges.size(); first = last) {
        last = first;
        while (last < edges.size() && edges[last].group == edges[first].group) ++last;
        for (size_t k = first; k < last; ++k) {
          Edge& one = edges[first + random.below(last - first)];
          Edge& other = edges[first + random.below(last - first)];
          swap_heads(one, other, nodes, taken, random);
        }
      }
    for (const Edge& edge : edges) {
      arcs.push_back({edge.tail, edge.head, edge.link});
      if (edge.back >= 0) arcs.push_back({edge.head, edge.tail, edge.back});
    }
  }

 private:
  // What is swapped with others of its group.
  struct Edge {
    int32_t tail, head;
    int32_t link;  // the origin of tail->head
    int32_t back;  // the origin of head->tail, or -1 where that is another edge, or none
    int32_t group;
    bool symmetric;  // whether tail and head may change places
  };

  uint64_t key(int32_t tail, int32_t head, int64_t nodes) const {
    if (keep_mutual_ && tail > head) std::swap(tail, head);
    return uint64_t(tail) * nodes + head;
  }

  // Takes all arcs but the self-loops, and puts them in order of their groups.
  std::vector<Edge> edges_of(const State* states, std::vector<Arc>& arcs) const {
    std::vector<Edge> edges;
    const auto state = [&](int32_t link) { return link < 0 ? 0 : states[link]; };
    // Both directions of a mutual pair come together, the one up first.
    const auto ends = [](const Arc& x) { return std::minmax(x.source, x.target); };
    std::sort(arcs.begin(), arcs.end(), [&](const Arc& x, const Arc& y) {
      return ends(x) != ends(y) ? ends(x) < ends(y) : x.source < y.source;
    });
    size_t loops = 0;
    for (size_t i = 0; i < arcs.size(); ++i) {
      if (is_loop(arcs[i])) {
        arcs[loops++] = arcs[i];
        continue;
      }
      Edge edge{arcs[i].source, arcs[i].target, arcs[i].origin, -1, 0, false};
      if (keep_mutual_ && i + 1 < arcs.size() && ends(arcs[i]) == ends(arcs[i + 1])) {
        edge.back = arcs[++i].origin;
        edge.symmetric = !keep_signs_ || state(edge.link) == state(edge.back);
        if (keep_signs_ && state(edge.link) > state(edge.back)) {
          std::swap(edge.tail, edge.head);
          std::swap(edge.link, edge.back);
        }
      }
      edge.group = edge.back < 0 ? 0 : 1;
      if (keep_signs_) edge.group = state(edge.link) * 4 + state(edge.back);
      edges.push_back(edge);
    }
    arcs.resize(loops);
    std::stable_sort(edges.begin(), edges.end(),
                     [](const Edge& x, const Edge& y) { return x.group < y.group; });
    return edges;
  }

  void swap_heads(Edge& one, Edge& other, int64_t nodes, LinkSet& taken, Random& random) const {
    if (one.symmetric && random.below(2)) {
      std::swap(one.tail, one.head);
      std::swap(one.link, one.back);
    }
    if (one.tail == other.head || other.tail == one.head) return;
    const uint64_t new_one = key(one.tail, other.head, nodes);
    const uint64_t new_other = key(other.tail, one.head, nodes);
    if (taken.contains(new_one) || taken.contains(new_other)) return;
    taken.erase(key(one.tail, one.head, nodes));
    taken.erase(key(other.tail, other.head, nodes));
    taken.insert(new_one);
    taken.insert(new_other);
    std::swap(one.head, other.head);
    std::swap(one.back, other.back);  // it goes with its source, the head
  }

  bool keep_mutual_, keep_signs_;
  int proposals_;
};

}  // namespace sparse_engine
