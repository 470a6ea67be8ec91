// Shared by both time loops of the recurrent highway network, rhn_forward.h and
// rhn_backward.h: the links of all levels, and the mask of the state.
#pragma once

#include "cells/rhn.h"
#include "sequences/kept_sigmoid.h"
#include "sparse_engine/rhn.h"

namespace sparse_engine {
namespace {

// Links of all levels.
template <class Args>
inline int64_t links_of(const Args& a) {
  int64_t links = 0;
  for (int64_t l = 0; l < a.depth; ++l) links += a.levels[l].w.nnz();
  return links;
}

// Rows [first, first + count) of panel q of the mask.
template <typename T, int W>
inline void read_mask(const Sequence<T, W>& seq, const T* mask, const State<T, W>& to, int64_t q,
                      int64_t first, int count) {
  read_initial(seq, mask, to, q, first, count);
  if (mask == nullptr) std::fill(to.row(q, first), to.row(q, first + count), T(1));
}

// Calls body(Int<lanes>, Int<vectors>, cell, panels) for the batch and the number of blocks.
template <typename T, typename A, class Args, class Body>
inline void with_cell(const Args& a, const Body& body) {
  with_panels<T, A>(a.batch, [&](auto lanes, auto vectors, int64_t panels) {
    if (a.levels[0].w.rows == 2 * a.levels[0].w.cols)
      body(lanes, vectors, Highway<true>(), panels);
    else
      body(lanes, vectors, Highway<false>(), panels);
  });
}

}  // namespace
}  // namespace sparse_engine
