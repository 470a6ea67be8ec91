// A directed graph that changes by swaps, with sums over its closed triads kept up to date.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "triads.h"

namespace sparse_engine {

// Links in order of their sources: link l of source s, ptr[s] <= l < ptr[s + 1], leads from node s
// to node target[l]. No link is given twice, and there are fewer than 2^31.
struct OutLinks {
  int64_t nodes;
  const int64_t* ptr;     // [nodes + 1]
  const int32_t* target;  // [ptr[nodes]]
};

// Copies the links. A swap gives two links each other's target, so that every node keeps its
// numbers of links in and out, and every link its source, number and state. One swap takes time
// linear in the degrees of its four nodes, and no search.
class SwapGraph {
 public:
  //   states [links], none of them 0.
  //   table [kTriadCodes, columns]: what a closed triad of each code adds to the sums, and 0 for
  //     codes that are none; not copied, and must outlive this.
  //   sums [columns]: of the graph as it is given.
  SwapGraph(const OutLinks& g, const State* states, const int64_t* table, const int64_t* sums,
            int columns)
      : out_ptr_(g.ptr, g.ptr + g.nodes + 1),
        in_ptr_(g.nodes + 1),
        source_(links()),
        target_(g.target, g.target + links()),
        state_(states, states + links()),
        in_(links()),
        place_(links()),
        table_(table),
        sums_(sums, sums + columns),
        at_u_(g.nodes),
        at_v_(g.nodes) {
    for (const int32_t node : target_) ++in_ptr_[node + 1];
    for (int64_t i = 0; i < g.nodes; ++i) in_ptr_[i + 1] += in_ptr_[i];
    std::vector<int64_t> next(in_ptr_.begin(), in_ptr_.end() - 1);
    for (int64_t s = 0; s < g.nodes; ++s)
      for (int64_t l = out_ptr_[s]; l < out_ptr_[s + 1]; ++l) {
        source_[l] = static_cast<int32_t>(s);
        place_[l] = static_cast<int32_t>(next[target_[l]]++);
        in_[place_[l]] = static_cast<int32_t>(l);
      }
  }

  int64_t links() const { return out_ptr_.back(); }
  const std::vector<int32_t>& targets() const { return target_; }
  const std::vector<int64_t>& sums() const { return sums_; }

  // Whether the swap would make two links that are not there yet, and no self-loop unless these are
  // allowed. Links of one source, or to one target, have no swap: each would be there already.
  bool can_swap(int32_t k, int32_t l, bool self_loops) const {
    if (!self_loops && (source_[k] == target_[l] || source_[l] == target_[k])) return false;
    return !linked(source_[k], target_[l]) && !linked(source_[l], target_[k]);
  }

  // Swaps two links that can be. To swap them again is to undo it.
  void swap(int32_t k, int32_t l) {
    const State state_k = state_[k], state_l = state_[l];
    set(k, 0);
    set(l, 0);
    std::swap(target_[k], target_[l]);
    std::swap(in_[place_[k]], in_[place_[l]]);
    std::swap(place_[k], place_[l]);
    set(k, state_k);
    set(l, state_l);
  }

 private:
  bool linked(int32_t source, int32_t target) const {
    const int64_t outs = out_ptr_[source + 1] - out_ptr_[source];
    if (outs <= in_ptr_[target + 1] - in_ptr_[target]) {
      const auto first = target_.begin() + out_ptr_[source];
      return std::find(first, first + outs, target) != first + outs;
    }
    return std::any_of(in_.begin() + in_ptr_[target], in_.begin() + in_ptr_[target + 1],
                       [&](int32_t l) { return source_[l] == source; });
  }

  // Gives a link another state, 0 to take it away, and corrects the sums over its triads.
  void set(int32_t link, State state) {
    const int32_t u = source_[link], v = target_[link];
    const State old = std::exchange(state_[link], state);
    if (u == v) return;
    each_link(u, [&](int32_t w, int code) { at_u_[w] |= code; });
    each_link(v, [&](int32_t w, int code) { at_v_[w] |= code; });
    const int back = at_u_[v] & 12;
    each_link(v, [&](int32_t w, int) {
      const int far = std::exchange(at_v_[w], uint8_t{0});
      if (far == 0 || at_u_[w] == 0 || w == u || w == v) return;
      const int rest = back | at_u_[w] << 4 | far << 8;
      const int64_t columns = static_cast<int64_t>(sums_.size());
      for (int64_t c = 0; c < columns; ++c)
        sums_[c] += table_[(rest | state) * columns + c] - table_[(rest | old) * columns + c];
    });
    each_link(u, [&](int32_t w, int) { at_u_[w] = 0; });
  }

  // Calls visit(w, the link's state as the pair (u, w) has it in a code) for all links of u.
  template <class Visit>
  void each_link(int32_t u, const Visit& visit) const {
    for (int64_t l = out_ptr_[u]; l < out_ptr_[u + 1]; ++l) visit(target_[l], state_[l]);
    for (int64_t p = in_ptr_[u]; p < in_ptr_[u + 1]; ++p)
      visit(source_[in_[p]], state_[in_[p]] << 2);
  }

  std::vector<int64_t> out_ptr_, in_ptr_;  // [nodes + 1]
  std::vector<int32_t> source_, target_;   // [links]
  std::vector<State> state_;               // [links]
  std::vector<int32_t> in_;                // [links], in order of their targets
  std::vector<int32_t> place_;             // [links], of each link in in_
  const int64_t* table_;
  std::vector<int64_t> sums_;
  std::vector<uint8_t> at_u_, at_v_;  // [nodes], 0 between calls
};

}  // namespace sparse_engine
