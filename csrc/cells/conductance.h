// Conductance synapses (Hasani et al. 2021): a source at potential x opens a link by
// g = W sigmoid(sigma (x - mu)), which adds g to the conductance of its target and erev g to the
// current. Parameters of a link are numbers or, with lanes over links, vectors.
#pragma once

#include "cell.h"

namespace sparse_engine {
namespace {

struct Synapse {
  // The sums over time and batch that make up the gradients of one link.
  enum Sum { kOfWeight, kOfMu, kOfSigma, kOfErev };

  // Adds to the sums of the target.
  template <class Math, class Number, class Parameter>
  static SE_CELL void add(Number& current, Number& conductance, Number x, Parameter weight,
                          Parameter mu, Parameter sigma, Parameter erev) {
    const Number g = weight * typename Math::Logistic(sigma * (x - mu)).value;
    conductance += g;
    current += erev * g;
  }

  // Adds to the link's sums, from the gradients of its target's current and conductance. Returns
  // the gradient of sigma (x - mu) over W: that of x is W sigma times as large.
  template <class Math, class Number, class Parameter>
  static SE_CELL Number backward(Number (&sums)[4], Number x, Number dcurrent, Number dconductance,
                                 Parameter mu, Parameter sigma, Parameter erev) {
    const Number above = x - mu;
    const typename Math::Logistic gate(sigma * above);
    const Number dg = dcurrent * erev + dconductance, of_weight = dg * gate.value;
    const Number of_argument = of_weight * gate.complement;
    sums[kOfWeight] += of_weight;
    sums[kOfMu] += of_argument;
    sums[kOfSigma] += of_argument * above;
    sums[kOfErev] += dcurrent * gate.value;
    return of_argument;
  }

  // Makes the gradients of the link's parameters of its sums.
  template <class Real>
  static SE_CELL void finish(Real (&sums)[4], Real weight, Real sigma) {
    sums[kOfMu] *= -(weight * sigma);
    sums[kOfSigma] *= weight;
    sums[kOfErev] *= weight;
  }
};

}  // namespace
}  // namespace sparse_engine
