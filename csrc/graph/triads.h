// The triads (triples of nodes) of a directed graph, counted by signed type.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "skeleton.h"

namespace sparse_engine {

// The code of nodes u, v, w has the state of their link k, as a Triangle numbers it, in bits 2k and
// 2k + 1. A triad has as many as six codes, of which one is counted: if two of its nodes are not
// connected those are v and w, if only two are connected those are u and v.
constexpr int kTriadCodes = 1 << 12;

// The codes of an edge: bits 0 and 1 the state of the link to the other node, 2 and 3 from it.
constexpr int kEdgeCodes = 1 << 4;

// The same edge from its other end, and from the end where its code is less.
inline int reversed(int edge) { return edge >> 2 | (edge & 3) << 2; }
inline int undirected(int edge) { return std::min(edge, reversed(edge)); }

// The triad with an edge of each code at u; both orders are one.
inline int open_code(int one, int other) {
  return one < other ? one | other << 4 : other | one << 4;
}

// How many threads pay for a graph of so many links.
inline int triad_threads(int threads, int64_t links) { return links < 4096 ? 1 : threads; }

// Triads with one pair of nodes, or two, that are not connected follow from what each node and each
// edge has at its ends: all choices, less those that were counted as part of more.
//   code: of the skeleton's edges.
//   histogram [kTriadCodes]: has the closed triads; the others are added, but for code 0.
inline void add_open_triads(const Skeleton& skeleton, const std::vector<uint8_t>& code,
                            int64_t* histogram) {
  const int64_t nodes = skeleton.nodes();
  std::vector<int32_t> ends(nodes * kEdgeCodes);
  int64_t edges[kEdgeCodes] = {}, pairs[kEdgeCodes][kEdgeCodes] = {};
  skeleton.each_edge([&](int64_t u, int64_t v, int64_t e) {
    ++ends[u * kEdgeCodes + code[e]];
    ++ends[v * kEdgeCodes + reversed(code[e])];
    ++edges[undirected(code[e])];
  });
  for (int64_t u = 0; u < nodes; ++u) {
    const int32_t* of = &ends[u * kEdgeCodes];
    for (int a = 1; a < kEdgeCodes; ++a)
      for (int b = a; b < kEdgeCodes && of[a] != 0; ++b)
        pairs[a][b] += a == b ? int64_t{of[a]} * (of[a] - 1) / 2 : int64_t{of[a]} * of[b];
  }
  for (int a = 1; a < kEdgeCodes; ++a) {
    for (int b = a; b < kEdgeCodes; ++b) histogram[open_code(a, b)] = pairs[a][b];
    histogram[a] = edges[a] * (nodes - 2);
  }
  for (int c = kEdgeCodes * kEdgeCodes; c < kTriadCodes; ++c) {
    const int uv = c & 15, uw = c >> 4 & 15, vw = c >> 8;
    if (histogram[c] == 0) continue;
    histogram[open_code(uv, uw)] -= histogram[c];
    histogram[open_code(reversed(uv), vw)] -= histogram[c];
    histogram[open_code(reversed(uw), reversed(vw))] -= histogram[c];
    for (int edge : {uv, uw, vw}) histogram[undirected(edge)] -= histogram[c];
  }
  for (int a = 1; a < kEdgeCodes; ++a)
    for (int b = a; b < kEdgeCodes; ++b)
      for (int edge : {a, b}) histogram[undirected(edge)] -= histogram[open_code(a, b)];
}

// The marks of each thread, made before the parallel region: no exception may leave that.
inline std::vector<int32_t> marks_of(int threads, int64_t nodes) {
  return std::vector<int32_t>(threads * nodes);
}

// How many triads have each code, those without any link excepted.
//   code: of the skeleton's edges.
//   histogram [kTriadCodes]: written; the same for any number of threads.
inline void count_triads(const Skeleton& skeleton, const std::vector<uint8_t>& code,
                         int64_t* histogram, int threads) {
  std::fill_n(histogram, kTriadCodes, 0);
  std::vector<int32_t> marks = marks_of(threads, skeleton.nodes());
  std::vector<int64_t> counts(int64_t{threads} * kTriadCodes);
#pragma omp parallel num_threads(threads)
  {
    int32_t* mark = marks.data() + omp_get_thread_num() * skeleton.nodes();
    int64_t* mine = counts.data() + omp_get_thread_num() * int64_t{kTriadCodes};
#pragma omp for schedule(dynamic, 64)
    for (int64_t u = 0; u < skeleton.nodes(); ++u)
      skeleton.triangles_at(u, mark, [&](int64_t uv, int64_t uw, int64_t vw) {
        ++mine[code[uv] | code[uw] << 4 | code[vw] << 8];
      });
  }
  for (size_t i = 0; i < counts.size(); ++i) histogram[i % kTriadCodes] += counts[i];
  add_open_triads(skeleton, code, histogram);
}

// The same of a graph and its links' states.
//   states [links].
inline void count_triads(const Digraph& g, const State* states, int64_t* histogram, int threads) {
  const Skeleton skeleton(g);
  count_triads(skeleton, skeleton.codes(states), histogram, triad_threads(threads, g.ptr[g.nodes]));
}

// Adds up, over the triangles that each link is in, what the table says of its place in them.
//   table [kTriadCodes, 6, 2], by code and number of the link.
//   sums [links, 2]: written; the same for any number of threads.
inline void sum_over_triads(const Digraph& g, const State* states, const int64_t* table,
                            int64_t* sums, int threads) {
  const Skeleton skeleton(g);
  const std::vector<uint8_t> code = skeleton.codes(states);
  std::fill_n(sums, 2 * g.ptr[g.nodes], 0);
  const int members = triad_threads(threads, g.ptr[g.nodes]);
  std::vector<int32_t> marks = marks_of(members, g.nodes);
#pragma omp parallel num_threads(members)
  {
    int32_t* mark = marks.data() + omp_get_thread_num() * g.nodes;
#pragma omp for schedule(dynamic, 64)
    for (int64_t u = 0; u < g.nodes; ++u)
      skeleton.triangles_at(u, mark, [&](int64_t uv, int64_t uw, int64_t vw) {
        const int64_t* row = table + 12 * (code[uv] | code[uw] << 4 | code[vw] << 8);
        const Triangle links = skeleton.links(uv, uw, vw);
        for (int k = 0; k < 6; ++k)
          for (int column = 0; column < 2 && links[k] >= 0; ++column) {
#pragma omp atomic
            sums[2 * links[k] + column] += row[2 * k + column];
          }
      });
  }
}

}  // namespace sparse_engine
