// One unfold of the liquid time-constant network (Hasani et al. 2021), semi-implicit: with the
// current and the conductance of all that drives a unit, and its capacitance over the time step cm,
// v_after = (cm v + current) / (cm + conductance).
#pragma once

#include "cell.h"

namespace sparse_engine {
namespace {

struct Membrane {
  // Returns the potential after the unfold, and in `over` one over the denominator.
  template <class Number, class Real>
  static SE_CELL Number forward(Real cm, Number before, Number current, Number conductance,
                                Number& over) {
    over = Real(1) / (cm + conductance);
    return (cm * before + current) * over;
  }

  // From the gradient of the potential after, `dv`, those of the current and of the conductance;
  // returns the unit's part of the gradient of cm. That of the potential before is cm dcurrent.
  template <class Number>
  static SE_CELL Number backward(Number dv, Number over, Number before, Number after,
                                 Number& dcurrent, Number& dconductance) {
    dcurrent = dv * over;
    dconductance = -dcurrent * after;
    return dcurrent * before + dconductance;
  }
};

}  // namespace
}  // namespace sparse_engine
