"""Learning online: gradients while a sequence runs, in memory that does not grow with its length.

A learner carries the influence of every parameter on the state, ``dh_t / dtheta``, from step to
step, and multiplies it by the gradient of each step's loss. :class:`RTRL` is exact, and the others
keep a part of the influence (docs/online.md).
"""

from sparse_engine.online.learner import Learner as Learner
from sparse_engine.online.methods import RFLO as RFLO
from sparse_engine.online.methods import RTRL as RTRL
from sparse_engine.online.methods import EProp as EProp
from sparse_engine.online.methods import SnAp as SnAp
