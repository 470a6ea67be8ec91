// The undirected graph beneath a directed one, in which triangles are looked for.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace sparse_engine {

// A pattern in CSR: link p of row i leads from node idx[p] to node i. No link is stored twice, and
// there are fewer than 2^31.
struct Digraph {
  int64_t nodes;
  const int64_t* ptr;  // [nodes + 1]
  const int32_t* idx;  // [ptr[nodes]]
};

// What is known of one link, in two bits: 0 for no link, otherwise a value of the caller's.
using State = uint8_t;

// The links of a triangle by their positions in the CSR, -1 where there is none; among the nodes
// u, v, w they are numbered
//   0 u->v   1 v->u   2 u->w   3 w->u   4 v->w   5 w->v
using Triangle = std::array<int32_t, 6>;

// The undirected graph beneath a digraph, without self-loops. Each of its edges is stored once, at
// the end of lower rank, where nodes are ranked by degree: lists stay shorter than sqrt(2 links),
// however many links a hub has.
class Skeleton {
 public:
  explicit Skeleton(const Digraph& g) : begin_(g.nodes + 1), end_(g.nodes) {
    const std::vector<int32_t> rank = ranks(g);
    each_link(g, rank, [&](int32_t low, int32_t, int32_t, bool) { ++begin_[low + 1]; });
    for (int64_t u = 0; u < g.nodes; ++u) end_[u] = begin_[u + 1] += begin_[u];
    std::vector<int64_t> next(begin_.begin(), begin_.end() - 1);
    edges_.resize(begin_[g.nodes]);
    each_link(g, rank, [&](int32_t low, int32_t high, int32_t link, bool up) {
      edges_[next[low]++] = up ? Edge{high, link, -1} : Edge{high, -1, link};
    });
    for (int64_t u = 0; u < g.nodes; ++u) end_[u] = join_mutual(begin_[u], end_[u]);
  }

  int64_t nodes() const { return static_cast<int64_t>(end_.size()); }

  // Calls visit(uv, uw, vw) with the edges of every triangle whose node of lowest rank is u.
  //   mark [nodes], all 0 before and after.
  template <class Visit>
  void triangles_at(int64_t u, int32_t* mark, const Visit& visit) const {
    const int64_t first = begin_[u], last = end_[u];
    for (int64_t e = first; e < last; ++e)
      mark[edges_[e].node] = static_cast<int32_t>(e - first) + 1;
    for (int64_t uv = first; uv < last; ++uv) {
      const int32_t v = edges_[uv].node;
      for (int64_t vw = begin_[v]; vw < end_[v]; ++vw) {
        const int32_t at = mark[edges_[vw].node];
        if (at != 0) visit(uv, first + at - 1, vw);
      }
    }
    for (int64_t e = first; e < last; ++e) mark[edges_[e].node] = 0;
  }

  // Calls visit(u, v, edge) with every edge, u of lower rank.
  template <class Visit>
  void each_edge(const Visit& visit) const {
    for (int64_t u = 0; u < nodes(); ++u)
      for (int64_t e = begin_[u]; e < end_[u]; ++e) visit(u, edges_[e].node, e);
  }

  // The states of an edge's two links, four bits for each edge: first that of the link up.
  std::vector<uint8_t> codes(const State* states) const {
    std::vector<uint8_t> code(edges_.size());
    for (size_t e = 0; e < code.size(); ++e) {
      const auto [node, up, down] = edges_[e];
      code[e] = (up < 0 ? 0 : states[up]) | (down < 0 ? 0 : states[down]) << 2;
    }
    return code;
  }

  Triangle links(int64_t uv, int64_t uw, int64_t vw) const {
    return {edges_[uv].up,   edges_[uv].down, edges_[uw].up,
            edges_[uw].down, edges_[vw].up,   edges_[vw].down};
  }

 private:
  // An edge to a node of higher rank.
  struct Edge {
    int32_t node;
    int32_t up;    // the link to that node, or -1
    int32_t down;  // the link from it, or -1
  };

  static std::vector<int32_t> ranks(const Digraph& g) {
    std::vector<int64_t> degree(g.nodes);
    for (int64_t i = 0; i < g.nodes; ++i) {
      degree[i] += g.ptr[i + 1] - g.ptr[i];
      for (int64_t p = g.ptr[i]; p < g.ptr[i + 1]; ++p) ++degree[g.idx[p]];
    }
    std::vector<int32_t> order(g.nodes), rank(g.nodes);
    for (int64_t i = 0; i < g.nodes; ++i) order[i] = static_cast<int32_t>(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return degree[a] < degree[b]; });
    for (int64_t r = 0; r < g.nodes; ++r) rank[order[r]] = static_cast<int32_t>(r);
    return rank;
  }

  // Calls visit(lower rank, higher rank, link, whether it leads to the higher).
  template <class Visit>
  static void each_link(const Digraph& g, const std::vector<int32_t>& rank, const Visit& visit) {
    for (int64_t i = 0; i < g.nodes; ++i)
      for (int64_t p = g.ptr[i]; p < g.ptr[i + 1]; ++p) {
        const int32_t target = rank[i], source = rank[g.idx[p]];
        if (source < target) visit(source, target, static_cast<int32_t>(p), true);
        if (source > target) visit(target, source, static_cast<int32_t>(p), false);
      }
  }

  // Makes one edge of the two links of a mutual pair. Returns the end of what is left.
  int64_t join_mutual(int64_t first, int64_t last) {
    std::sort(edges_.begin() + first, edges_.begin() + last,
              [](const Edge& a, const Edge& b) { return a.node < b.node; });
    int64_t to = first;
    for (int64_t e = first; e < last; ++e) {
      if (to > first && edges_[to - 1].node == edges_[e].node) {
        edges_[to - 1].up = std::max(edges_[to - 1].up, edges_[e].up);
        edges_[to - 1].down = std::max(edges_[to - 1].down, edges_[e].down);
      } else {
        edges_[to++] = edges_[e];
      }
    }
    return to;
  }

  std::vector<int64_t> begin_, end_;
  std::vector<Edge> edges_;
};

}  // namespace sparse_engine
