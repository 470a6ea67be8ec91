// The gated recurrent unit (Cho et al. 2014) as torch has it, whose reset gate multiplies the
// recurrent contribution to the candidate, its bias included. Gates in torch's order: r, z, n.
#pragma once

#include "gated.h"

namespace sparse_engine {
namespace {

template <class Real>
struct Gru {
  static constexpr int kGates = 3, kShared = 2, kSaved = 4, kMemory = -1;

  template <class Math, class Number>
  SE_CELL Number forward(const Number (&v)[3], const Number (&u)[3], Number& before,
                         Number (&saved)[4]) const {
    const Number r = Math::sigmoid(v[0] + u[0]), z = Math::sigmoid(v[1] + u[1]);
    const Number n = Math::tanh(v[2] + r * u[2]);
    saved[0] = r, saved[1] = z, saved[2] = n, saved[3] = u[2];
    return (Real(1) - z) * n + z * before;
  }

  template <class Math, class Number>
  SE_CELL void backward(const Number (&saved)[4], Number dh, Number before, Number& carried,
                        Number (&du)[3], Number (&dv)[3]) const {
    const Number r = saved[0], z = saved[1], n = saved[2], candidate = saved[3];
    const Number all = dh + carried;
    dv[2] = all * (Real(1) - z) * tanh_slope<Math>(n);
    du[0] = dv[2] * candidate * sigmoid_slope<Math>(r);
    du[1] = all * (before - n) * sigmoid_slope<Math>(z);
    du[2] = dv[2] * r;
    carried = all * z;
  }

  static constexpr bool is_sigmoid(int s) { return s < 2; }
};

}  // namespace
}  // namespace sparse_engine
