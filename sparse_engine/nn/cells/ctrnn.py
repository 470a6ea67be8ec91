"""The continuous-time recurrent network with sparse recurrent weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sparse_engine import ops
from sparse_engine.nn.cell import Layer
from sparse_engine.nn.cells.continuous import Leaky, LeakyNetwork
from sparse_engine.nn.options import check_clip, option


@dataclass(frozen=True, kw_only=True)
class CTRNN(Leaky):
    """Leaky unit in continuous time (Funahashi & Nakamura 1993)."""

    cell_clip: float | None = option(check_clip, None)

    operation: ClassVar[Any] = ops.ctrnn

    def arguments(self, layer: Layer) -> dict[str, Any]:
        """Return the solver's arguments, the rates, and the limit of states."""
        return {**super().arguments(layer), "clip": self.cell_clip}


class SparseCTRNN(LeakyNetwork):
    """Leaky units in continuous time (Funahashi & Nakamura 1993), connected by links only.

    While input ``x_t`` is held, the state follows ``dh/ds = -h / tau + tanh(x_t W_ih^T + b_ih +
    h W_hh^T + b_hh)``. It is integrated by ``unfolds`` steps of Euler's method,
    ``h + dt * dh/ds``, which is stable for dt < 2 tau. Training keeps one state per time step,
    for any number of unfolds.

    Args:
        tau: time constants, in the unit of time of dt: a number, or one for each unit
            ``[hidden_size]``, or one for each group. All layers start with the same ones.
        trainable_tau: whether time constants are trained. Their logarithms are then the parameters
            ``log_tau_l0``, ..., so that time constants stay positive and an optimizer changes them
            by a factor. Otherwise time constants are the buffers ``tau_l0``, ...
        groups: group of each unit, for units that share time constants: ``[hidden_size]`` integers
            from 0 on without gaps.
        unfolds: number of steps of Euler's method for each input.
        dt: length of each of these steps, unless timespans are given.
        cell_clip: c to clip the state to [-c, c] after each unfold; no gradient passes a clipped
            state. None for no clipping.
        **options: the other arguments of :class:`Recurrent`.

    Raises:
        ValueError: tau or dt that is not positive, unfolds below 1, a cell_clip that is not
            positive, or groups that are not numbered so.

    Example:
        >>> rnn = SparseCTRNN(64, 1024, density=0.05, tau=0.5)
        >>> y, h_n = rnn(torch.randn(50, 32, 64), timespans=torch.rand(50))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    cell_type = CTRNN
