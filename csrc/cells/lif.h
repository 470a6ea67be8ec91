// The leaky integrate-and-fire unit: potential v, current i, rise g of the current, and the steps
// that it rests. A Number is a vector of units, or one.
#pragma once

#include <limits>

#include "cells/cell.h"
#include "sparse_engine/lif.h"

namespace sparse_engine {
namespace {

// States of a unit, or their gradients.
template <class Number>
struct LifState {
  Number v, i, g;
};

template <typename Real, class Number>
class Lif {
 public:
  explicit Lif(const LifUnit& of)
      : leak_(Real(of.leak)),
        of_current_(Real(of.of_current)),
        of_rise_(Real(of.of_rise)),
        decay_(Real(of.decay)),
        rise_(Real(of.rise)),
        threshold_(Real(of.threshold)),
        reset_(Real(of.reset)),
        scale_(Real(of.scale)),
        alpha_(of.alpha),
        rests_(of.rests()),
        keeps_(of.keeps_current),
        surrogate_(of.surrogate) {}

  // One step: from what arrives, returns z and writes u. `rest` are the steps after a spike.
  SE_CELL Number forward(Number arrived, Number rest, LifState<Number>& s, Number& rests,
                         Number& u) const {
    const Number zero = {};
    Number resting = zero;  // 1 where a unit rests
    if (rests_) {
      if (!keeps_) arrived = rests > zero ? zero : arrived;
      rests = rests > zero + one() ? rests - one() : zero;
      resting = rests > zero ? zero + one() : zero;
    }
    (alpha_ ? s.g : s.i) += arrived;
    Number moved = leak_ * s.v + of_current_ * s.i;
    if (alpha_) moved += of_rise_ * s.g;
    s.i = decay_ * s.i;
    if (alpha_) s.i += rise_ * s.g, s.g = decay_ * s.g;
    moved = resting > zero ? s.v : moved;
    u = moved - threshold_;
    u = resting > zero ? zero - std::numeric_limits<Real>::infinity() : u;
    const Number z = u > zero ? zero + one() : zero;
    s.v = u > zero ? zero + reset_ : moved;
    if (rests_) {
      rests = u > zero ? rest + one() : rests;
      if (!keeps_) {
        s.i = rests > zero ? zero : s.i;
        s.g = rests > zero ? zero : s.g;
      }
    }
    return z;
  }

  // From the gradients of the states after the step and of z to those before it; returns that of
  // what arrives. `closed` is positive where arrivals are dropped.
  SE_CELL Number backward(Number u, Number closed, Number dz, LifState<Number>& d) const {
    const Number zero = {}, least = zero - std::numeric_limits<Real>::max();
    if (!keeps_) {  // a unit that spikes or rests has no current
      d.i = u > zero ? zero : u < least ? zero : d.i;
      d.g = u > zero ? zero : u < least ? zero : d.g;
    }
    const Number dv = u > zero ? zero : d.v;
    const Number moved = u < least ? zero : dv + dz * slope(u);
    d.v = u < least ? dv : leak_ * moved;
    const Number rise = of_rise_ * moved + rise_ * d.i + decay_ * d.g;
    d.i = of_current_ * moved + decay_ * d.i;
    if (alpha_) d.g = rise;
    const Number arrived = alpha_ ? d.g : d.i;
    return keeps_ ? arrived : closed > zero ? zero : arrived;
  }

  // The surrogate's gradient; 0 where a unit rests.
  SE_CELL Number slope(Number u) const {
    const Number zero = {};
    const Number far = scale_ * (u > zero ? u : zero - u);
    if (surrogate_ == Surrogate::kATan) return one() / (one() + far * far);
    if (surrogate_ == Surrogate::kTriangle) return far < zero + one() ? one() - far : zero;
    return one() / ((one() + far) * (one() + far));
  }

 private:
  static SE_CELL Real one() { return Real(1); }

  const Real leak_, of_current_, of_rise_, decay_, rise_, threshold_, reset_, scale_;
  const bool alpha_, rests_, keeps_;
  const Surrogate surrogate_;
};

}  // namespace
}  // namespace sparse_engine
