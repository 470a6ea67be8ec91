// What both time loops of the recurrent highway network have in common, rhn_forward.h and
// rhn_backward.h: one unit of a level, and the mask of its state.
#pragma once

#include "kept_sigmoid.h"
#include "sparse_engine/rhn.h"

namespace sparse_engine {
namespace {

template <bool kCoupled>
struct Highway {
  static constexpr int kBlocks = kCoupled ? 2 : 3;
  static constexpr int kSaved = kBlocks + 1;

  template <typename T, int L>
  static SE_INLINE Vec<T, L> forward(const Vec<T, L> (&u)[kBlocks], Vec<T, L> before,
                                     Vec<T, L> (&saved)[kSaved]) {
    const Vec<T, L> h = Tanh::of<T, L>(u[0]), t = Sigmoid::of<T, L>(u[1]);
    saved[0] = h, saved[1] = t;
    if constexpr (!kCoupled) saved[2] = Sigmoid::of<T, L>(u[2]);
    saved[kBlocks] = before;
    return h * t + before * carry<T, L>(saved);
  }

  static constexpr bool is_sigmoid(int s) { return s > 0 && s < kBlocks; }

  // From the gradient of the state to that of u; returns what reaches the gradient of the state
  // before other than by the weight.
  template <typename T, int L>
  static SE_INLINE Vec<T, L> backward(const Vec<T, L> (&saved)[kSaved], Vec<T, L> ds,
                                      Vec<T, L> (&du)[kBlocks]) {
    const Vec<T, L> h = saved[0], t = saved[1], before = saved[kBlocks];
    du[0] = ds * t * Tanh::slope<T, L>(h);
    du[1] = ds * (kCoupled ? h - before : h) * Sigmoid::slope<T, L>(t);
    if constexpr (!kCoupled) du[2] = ds * before * Sigmoid::slope<T, L>(saved[2]);
    return ds * carry<T, L>(saved);
  }

 private:
  template <typename T, int L>
  static SE_INLINE Vec<T, L> carry(const Vec<T, L> (&saved)[kSaved]) {
    return kCoupled ? T(1) - saved[1] : saved[2];
  }
};

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
