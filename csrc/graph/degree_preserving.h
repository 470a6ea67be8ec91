// Random graphs whose nodes have as many links in and out as those of a given one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "link_set.h"
#include "null_kinds.h"
#include "random.h"
#include "small_graph.h"

namespace sparse_engine {

// Two moves, each as likely as its undoing, so that all graphs that can be reached are as likely.
// Double edge swaps: a->b and c->d become a->d and c->b, where that makes no self-loop and nothing
// twice. Reversals: a->b->c->a becomes a->c->b->a. With both, where only directions count, every
// graph can be reached (Roberts and Coolen, "Unbiased degree-preserving randomization of directed
// binary networks", 2012). Where pairs or states count, too, that is not so: graphs of few nodes,
// in which it matters, go through SmallGraph as well.
class DegreePreserving : public NullKind {
 public:
  // keep_mutual: move single links among single links and mutual pairs among mutual pairs, and make
  //   none of the other; otherwise only single directions count.
  // keep_signs: move only what has the same states; otherwise these only stay with the source.
  // proposals: of swaps for each link.
  DegreePreserving(bool keep_mutual, bool keep_signs, int proposals)
      : keep_mutual_(keep_mutual), keep_signs_(keep_signs), proposals_(proposals) {}

  void draw(int64_t nodes, const State* states, std::vector<Arc>& arcs, Random& random,
            Moves& moves) const override {
    const auto first = std::partition(arcs.begin(), arcs.end(), is_loop);
    const std::vector<Arc> given(first, arcs.end());
    arcs.erase(first, arcs.end());
    std::vector<Edge> edges = edges_of(given, states);
    moves.edges += edges.size();
    moves.changes += shuffle_edges(edges, nodes, random);
    if (2 < nodes && nodes <= kFewNodes) moves.changes += walk(edges, nodes, random);
    give_origins(edges, given, states, nodes, arcs, random);
  }

 private:
  static constexpr int kFewNodes = 32;
  // Of the way through a small graph, for each of the proposals: on graphs of four nodes that many
  // walks make all frequencies even, and larger graphs are reached by the other moves.
  static constexpr int kWalks = 800, kSteps = 400;

  // What is moved among others of the same symbol, that of SmallGraph::pair.
  struct Edge {
    int32_t tail, head;
    uint8_t symbol;

    bool symmetric() const { return SmallGraph::reversed(symbol) == symbol; }
  };

  uint64_t key(int32_t tail, int32_t head, int64_t nodes) const {
    if (keep_mutual_ && tail > head) std::swap(tail, head);
    return uint64_t(tail) * nodes + head;
  }

  State kind(const Arc& arc, const State* states) const {
    return keep_signs_ ? states[arc.origin] : State{1};
  }

  // The edges that links make, in order of their symbols and tails.
  std::vector<Edge> edges_of(std::vector<Arc> arcs, const State* states) const {
    const auto ends = [](const Arc& x) { return std::minmax(x.source, x.target); };
    // Both directions of a mutual pair come together.
    std::sort(arcs.begin(), arcs.end(), [&](const Arc& x, const Arc& y) {
      return ends(x) != ends(y) ? ends(x) < ends(y) : x.source < y.source;
    });
    std::vector<Edge> edges;
    for (size_t i = 0; i < arcs.size(); ++i) {
      const Arc& arc = arcs[i];
      Edge edge{arc.source, arc.target, SmallGraph::pair(kind(arc, states), 0)};
      if (keep_mutual_ && i + 1 < arcs.size() && ends(arc) == ends(arcs[i + 1])) {
        edge.symbol = SmallGraph::pair(kind(arc, states), kind(arcs[++i], states));
        turn_up(edge);
      }
      edges.push_back(edge);
    }
    std::sort(edges.begin(), edges.end(), [](const Edge& x, const Edge& y) {
      return std::tie(x.symbol, x.tail, x.head) < std::tie(y.symbol, y.tail, y.head);
    });
    return edges;
  }

  // Of a mutual pair of two states, the tail is where the link of the lesser one comes from.
  static void turn_up(Edge& edge) {
    if (SmallGraph::reversed(edge.symbol) < edge.symbol && edge.symbol % 4 > 0) {
      edge.symbol = SmallGraph::reversed(edge.symbol);
      std::swap(edge.tail, edge.head);
    }
  }

  int64_t shuffle_edges(std::vector<Edge>& edges, int64_t nodes, Random& random) const {
    LinkSet taken(edges.size());
    for (const Edge& edge : edges) taken.insert(key(edge.tail, edge.head, nodes));
    int64_t changes = 0;
    for (int round = 0; round < proposals_; ++round)
      for (auto first = edges.begin(); first != edges.end();) {
        const auto last = std::find_if(first, edges.end(),
                                       [&](const Edge& x) { return x.symbol != first->symbol; });
        for (int64_t k = 0; k < last - first; ++k) {
          Edge& one = first[random.below(last - first)];
          Edge& other = first[random.below(last - first)];
          changes += swap_heads(one, other, nodes, taken, random);
          // At random, for a graph with two realisations would else be always at the same one.
          if (k % 4 == 0 && !one.symmetric() && random.below(2))
            changes += reverse_triangle(one, first, last, nodes, taken, random);
        }
        first = last;
      }
    return changes;
  }

  bool swap_heads(Edge& one, Edge& other, int64_t nodes, LinkSet& taken, Random& random) const {
    if (one.symmetric() && random.below(2)) std::swap(one.tail, one.head);
    if (one.tail == other.head || other.tail == one.head) return false;
    const uint64_t new_one = key(one.tail, other.head, nodes);
    const uint64_t new_other = key(other.tail, one.head, nodes);
    if (taken.contains(new_one) || taken.contains(new_other)) return false;
    taken.erase(key(one.tail, one.head, nodes));
    taken.erase(key(other.tail, other.head, nodes));
    taken.insert(new_one);
    taken.insert(new_other);
    std::swap(one.head, other.head);
    return true;
  }

  // Follows random edges of the same symbol, and turns them round where the third leads back. Edges
  // keep their tails, so that a node's stay side by side.
  template <class Iterator>
  bool reverse_triangle(Edge& one, Iterator first, Iterator last, int64_t nodes, LinkSet& taken,
                        Random& random) const {
    const auto follow = [&](int32_t tail) {
      const auto from = std::lower_bound(first, last, tail,
                                         [](const Edge& x, int32_t node) { return x.tail < node; });
      const auto to = std::upper_bound(from, last, tail,
                                       [](int32_t node, const Edge& x) { return node < x.tail; });
      return from == to ? nullptr : &from[random.below(to - from)];
    };
    Edge* two = follow(one.head);
    Edge* three = two ? follow(two->head) : nullptr;
    if (!three || three->head != one.tail) return false;
    Edge* const edges[] = {&one, two, three};
    if (!keep_mutual_) {
      for (const Edge* edge : edges)
        if (taken.contains(key(edge->head, edge->tail, nodes))) return false;
      for (const Edge* edge : edges) {
        taken.erase(key(edge->tail, edge->head, nodes));
        taken.insert(key(edge->head, edge->tail, nodes));
      }
    }
    const int32_t head = one.head;
    one.head = two->head;
    two->head = three->head;
    three->head = head;
    return true;
  }

  int64_t walk(std::vector<Edge>& edges, int64_t nodes, Random& random) const {
    SmallGraph graph(static_cast<int>(nodes), keep_mutual_);
    for (const Edge& edge : edges) graph.set(edge.tail, edge.head, edge.symbol);
    int64_t changes = 0;
    for (int round = 0; round < proposals_; ++round) {
      for (int64_t k = 0; k < nodes * nodes; ++k) changes += graph.interchange(random);
      for (int64_t k = 0; k < kWalks / nodes; ++k) changes += graph.walk(kSteps, random);
    }
    edges.clear();
    for (int32_t tail = 0; tail < nodes; ++tail)
      for (int32_t head = keep_mutual_ ? tail + 1 : 0; head < nodes; ++head)
        if (tail != head && graph.at(tail, head))
          edges.push_back({tail, head, graph.at(tail, head)});
    return changes;
  }

  // Makes links of the edges. A value stays with its source, on which of its links does not matter.
  void give_origins(const std::vector<Edge>& edges, const std::vector<Arc>& given,
                    const State* states, int64_t nodes, std::vector<Arc>& arcs,
                    Random& random) const {
    const auto place = [](int32_t source, int state) { return size_t(source) * 4 + state; };
    std::vector<int64_t> next(4 * nodes + 1);
    for (const Arc& arc : given) ++next[place(arc.source, kind(arc, states)) + 1];
    for (size_t i = 1; i < next.size(); ++i) next[i] += next[i - 1];
    const std::vector<int64_t> begin = next;
    std::vector<int32_t> origins(given.size());
    for (const Arc& arc : given) origins[next[place(arc.source, kind(arc, states))]++] = arc.origin;
    next = begin;
    const auto link = [&](int32_t source, int32_t target, int state) {
      if (!state) return;
      const size_t at = place(source, state);
      std::swap(origins[next[at]], origins[next[at] + random.below(begin[at + 1] - next[at])]);
      arcs.push_back({source, target, origins[next[at]++]});
    };
    for (const Edge& edge : edges) {
      link(edge.tail, edge.head, edge.symbol / 4);
      link(edge.head, edge.tail, edge.symbol % 4);
    }
  }

  bool keep_mutual_, keep_signs_;
  int proposals_;
};

}  // namespace sparse_engine
