// The minimal gated unit (Zhou et al. 2016) with one recurrent product, of the state before: its
// one gate multiplies the recurrent contribution to the candidate, its bias included, where the
// paper has it multiply the state. Gates in order: f, the candidate.
#pragma once

#include "gated.h"

namespace sparse_engine {
namespace {

template <class Real>
struct Mgu {
  static constexpr int kGates = 2, kShared = 1, kSaved = 3, kMemory = -1;

  template <class Math, class Number>
  SE_CELL Number forward(const Number (&v)[2], const Number (&u)[2], Number& before,
                         Number (&saved)[3]) const {
    const Number f = Math::sigmoid(v[0] + u[0]), n = Math::tanh(v[1] + f * u[1]);
    saved[0] = f, saved[1] = n, saved[2] = u[1];
    return (Real(1) - f) * before + f * n;
  }

  template <class Math, class Number>
  SE_CELL void backward(const Number (&saved)[3], Number dh, Number before, Number& carried,
                        Number (&du)[2], Number (&dv)[2]) const {
    const Number f = saved[0], n = saved[1], candidate = saved[2];
    const Number all = dh + carried;
    dv[1] = all * f * tanh_slope<Math>(n);
    du[0] = (all * (n - before) + dv[1] * candidate) * sigmoid_slope<Math>(f);
    du[1] = dv[1] * f;
    carried = all * (Real(1) - f);
  }

  static constexpr bool is_sigmoid(int s) { return s == 0; }
};

}  // namespace
}  // namespace sparse_engine
