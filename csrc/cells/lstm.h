// Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000), and with
// layer normalisation (Ba et al. 2016, equations 20 to 22). Gates in torch's order: i, f, g, o.
#pragma once

#include "gated.h"

namespace sparse_engine {
namespace {

template <class Real>
struct Lstm {
  static constexpr int kGates = 4, kShared = 4, kSaved = 5, kMemory = 4;

  Real clip;  // the largest absolute c; infinity for none

  template <class Math, class Number>
  SE_CELL Number forward(const Number (&v)[4], const Number (&u)[4], Number& c,
                         Number (&saved)[5]) const {
    const Number i = Math::sigmoid(v[0] + u[0]), f = Math::sigmoid(v[1] + u[1]);
    const Number g = Math::tanh(v[2] + u[2]), o = Math::sigmoid(v[3] + u[3]);
    c = remembered(i, f, g, c);
    saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o, saved[4] = c;
    return output<Math>(o, c);
  }

  template <class Math, class Number>
  SE_CELL void backward(const Number (&saved)[5], Number dh, Number before, Number& carried,
                        Number (&du)[4], Number (&)[4]) const {
    const Number o = saved[3], c = saved[4], squashed = Math::tanh(c);
    const Number dc = where_kept(c, carried + dh * o * tanh_slope<Math>(squashed));
    gates_backward<Math>(saved[0], saved[1], saved[2], before, dc, du);
    du[3] = dh * squashed * sigmoid_slope<Math>(o);
    carried = dc * saved[1];
  }

  template <class Math, class Number>
  SE_CELL Number output(Number o, Number c) const {
    return o * Math::tanh(c);
  }

  static constexpr bool is_sigmoid(int s) { return s == 0 || s == 1 || s == 3; }

  // The gates of a c that was clipped let no gradient pass.
  template <class Number>
  SE_CELL void mark_clipped(Number (&saved)[5]) const {
    const Number c = saved[4];
    for (int s = 0; s < 3; ++s) saved[s] = where_kept(c, saved[s]);
  }

  // c of this step, from the c before.
  template <class Number>
  SE_CELL Number remembered(Number i, Number f, Number g, Number c) const {
    const Number most = Number{} + clip, next = f * c + i * g, below = next > most ? most : next;
    return below < -most ? -most : below;
  }

  // x, and zero where c was clipped.
  template <class Number>
  SE_CELL Number where_kept(Number c, Number x) const {
    const Number most = Number{} + clip, below = c >= most ? Number{} : x;
    return c <= -most ? Number{} : below;
  }

  // The gradients of the arguments of i, f and g, from that of c.
  template <class Math, class Number>
  SE_CELL void gates_backward(Number i, Number f, Number g, Number before, Number dc,
                              Number (&du)[4]) const {
    du[0] = dc * g * sigmoid_slope<Math>(i);
    du[1] = dc * before * sigmoid_slope<Math>(f);
    du[2] = dc * i * tanh_slope<Math>(g);
  }
};

// With z the normalised contributions of input and state together, and y the normalised c.
template <class Real>
struct NormedLstm {
  static constexpr int kGates = 4, kOutputGate = 3;
  static constexpr bool kHasMemory = true;

  Lstm<Real> lstm;

  // Takes c over to this step, and returns the output gate.
  template <class Math, class Number>
  SE_CELL Number forward(const Number (&z)[4], Number& c) const {
    c = lstm.remembered(Math::sigmoid(z[0]), Math::sigmoid(z[1]), Math::tanh(z[2]), c);
    return Math::sigmoid(z[3]);
  }

  // h, from the output gate and y.
  template <class Math, class Number>
  SE_CELL Number output(Number o, Number y) const {
    return lstm.template output<Math>(o, y);
  }

  // Returns the gradient of y, and in dz that of the output gate's z.
  template <class Math, class Number>
  SE_CELL Number output_backward(Number z, Number y, Number dh, Number& dz) const {
    const Number o = Math::sigmoid(z), squashed = Math::tanh(y);
    dz = dh * squashed * sigmoid_slope<Math>(o);
    return dh * o * tanh_slope<Math>(squashed);
  }

  // Fills the gradients of the other gates' z, from that of c; returns that of the c `before`.
  template <class Math, class Number>
  SE_CELL Number backward(const Number (&z)[4], Number c, Number before, Number dc,
                          Number (&dz)[4]) const {
    const Number i = Math::sigmoid(z[0]), f = Math::sigmoid(z[1]), g = Math::tanh(z[2]);
    dc = lstm.where_kept(c, dc);
    lstm.template gates_backward<Math>(i, f, g, before, dc, dz);
    return dc * f;
  }
};

}  // namespace
}  // namespace sparse_engine
