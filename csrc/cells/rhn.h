// One level of the recurrent highway network (Zilly et al. 2017, equations 6 to 9). Blocks of rows:
// h, t and, where it is not coupled, c; coupled levels have c = 1 - t.
#pragma once

#include "cell.h"

namespace sparse_engine {
namespace {

template <bool kCoupled>
struct Highway {
  static constexpr int kBlocks = kCoupled ? 2 : 3;
  static constexpr int kSaved = kBlocks + 1;  // the blocks, and the state before the level

  // The state behind the level, from u = R s + b (with the input's contribution on the levels that
  // read the input) and the state before it.
  template <class Math, class Number>
  static SE_CELL Number forward(const Number (&u)[kBlocks], Number before,
                                Number (&saved)[kSaved]) {
    const Number h = Math::tanh(u[0]), t = Math::sigmoid(u[1]);
    saved[0] = h, saved[1] = t;
    if constexpr (!kCoupled) saved[2] = Math::sigmoid(u[2]);
    saved[kBlocks] = before;
    return h * t + before * carry<Math>(saved);
  }

  // Fills the gradient of u, from that of the state behind the level; returns what reaches the
  // gradient of the state before other than by the weight.
  template <class Math, class Number>
  static SE_CELL Number backward(const Number (&saved)[kSaved], Number ds, Number (&du)[kBlocks]) {
    const Number h = saved[0], t = saved[1], before = saved[kBlocks];
    du[0] = ds * t * tanh_slope<Math>(h);
    du[1] = ds * (kCoupled ? h - before : h) * sigmoid_slope<Math>(t);
    if constexpr (!kCoupled) du[2] = ds * before * sigmoid_slope<Math>(saved[2]);
    return ds * carry<Math>(saved);
  }

  static constexpr bool is_sigmoid(int s) { return s > 0 && s < kBlocks; }

 private:
  template <class Math, class Number>
  static SE_CELL Number carry(const Number (&saved)[kSaved]) {
    return kCoupled ? typename Math::Real(1) - saved[1] : saved[kBlocks - 1];
  }
};

}  // namespace
}  // namespace sparse_engine
