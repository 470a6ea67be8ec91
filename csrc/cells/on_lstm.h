// The ordered-neurons LSTM (Shen et al. 2019, equations 9 to 13): one unit, once the master gates
// of its chunk are known. Rows of W: the chunks of the master input and the master forget gate,
// then the units' gates o, g, i, f.
#pragma once

#include "cell.h"

namespace sparse_engine {
namespace {

struct OnLstm {
  static constexpr int kMasters = 2, kGates = 4;  // in, forget; o, g, i, f

  static constexpr SE_CELL bool is_sigmoid(int gate) { return gate != 1; }

  template <class Math, class Number>
  static SE_CELL Number activated(int gate, Number u) {
    return is_sigmoid(gate) ? Math::sigmoid(u) : Math::tanh(u);
  }

  // A unit's gates and the masters of its chunk, from which c = forget() c_before + input() g.
  template <class Number>
  struct Unit {
    Number o, g, i, f, master_i, master_f;

    SE_CELL Number both() const { return master_i * master_f; }
    SE_CELL Number input() const { return i * both() + (master_i - both()); }
    SE_CELL Number forget() const { return f * both() + (master_f - both()); }

    // Takes c over to this step, and returns h.
    template <class Math>
    SE_CELL Number forward(Number& c) const {
      c = forget() * c + input() * g;
      return o * Math::tanh(c);
    }

    // Fills the gradients of the arguments of o, g, i, f and of both masters, from that of h.
    // `carried` is the gradient of c that comes from the next step, and becomes that of `before`.
    template <class Math>
    SE_CELL void backward(Number c, Number before, Number dh, Number& carried, Number (&du)[kGates],
                          Number (&dmasters)[kMasters]) const {
      using Real = typename Math::Real;
      const Number squashed = Math::tanh(c);
      const Number dc = carried + dh * o * tanh_slope<Math>(squashed);
      const Number dinput = dc * g, dforget = dc * before;
      const Number dboth = dinput * (i - Real(1)) + dforget * (f - Real(1));
      carried = dc * forget();
      du[0] = dh * squashed * sigmoid_slope<Math>(o);
      du[1] = dc * input() * tanh_slope<Math>(g);
      du[2] = dinput * both() * sigmoid_slope<Math>(i);
      du[3] = dforget * both() * sigmoid_slope<Math>(f);
      dmasters[0] = dinput + dboth * master_f;
      dmasters[1] = dforget + dboth * master_i;
    }
  };
};

}  // namespace
}  // namespace sparse_engine
