"""The network of leaky integrate-and-fire units with sparse recurrent weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_engine.nn.cell import Cell
from sparse_engine.nn.options import (
    Check,
    check_count,
    check_duration,
    check_flag,
    check_integer,
    in_range,
    option,
)
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.nn.spikes import (
    AlphaSynapse,
    ExponentialSynapse,
    Propagator,
    SuperSpike,
    Surrogate,
    Synapse,
)


def _check_kind(kind: type, name: str, value: object) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"expected {name} to be a {kind.__name__}, found {value!r}")


_check_finite: Check = in_range("finite {}", math.isfinite)


@dataclass(frozen=True, kw_only=True)
class LIF(Cell):
    """Leaky integrate-and-fire unit with an exponential or alpha synapse."""

    tau_membrane: float = option(check_duration, 20.0)
    synapse: Synapse = option(partial(_check_kind, Synapse), ExponentialSynapse())
    resistance: float = option(check_duration, 20.0)
    threshold: float = option(_check_finite, 1.0)
    reset: float = option(_check_finite, 0.0)
    refractory: int = option(partial(check_integer, least=0), 0)
    delay: int = option(check_count, 1)
    keeps_current: bool = option(check_flag, True)
    surrogate: Surrogate = option(partial(_check_kind, Surrogate), SuperSpike())
    dt: float = option(check_duration, 1.0)

    packable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold <= self.reset:
            raise ValueError(
                f"expected a threshold above the reset, found {self.threshold} and {self.reset}"
            )

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states: those that the options need."""
        rise = ("g0",) if isinstance(self.synapse, AlphaSynapse) else ()
        waiting = ("d0",) if self.delay > 1 else ()
        resting = ("r0",) if self.refractory or not self.keeps_current else ()
        return "h0", "v0", "i0", *rise, *resting, *waiting

    def size_of(self, state: str, hidden_size: int) -> int:
        """Return the number of features of a state; spikes that wait are those of some steps."""
        return hidden_size * (self.delay - 1) if state == "d0" else hidden_size

    @property
    def propagator(self) -> Propagator:
        """The exact solution over one step."""
        return Propagator.of(self.synapse, self.tau_membrane, self.resistance, self.dt)

    def step(
        self,
        v: Tensor,
        product: Callable[..., Tensor],
        state: tuple[Tensor, ...],
        **given: Any,
    ) -> tuple[Tensor, ...]:
        """Compute one time step: arrivals, membranes, spikes, resets."""
        old = dict(zip(self.states, state, strict=True))
        by, spikes, potential, current = self.propagator, old["h0"], old["v0"], old["i0"]
        sent = spikes
        if "d0" in old:  # the oldest spikes first
            sent, waiting = old["d0"].tensor_split([spikes.shape[-1]], -1)
            old["d0"] = torch.cat([waiting, spikes], -1)
        arrived = v + product(sent)
        resting = torch.zeros_like(spikes, dtype=torch.bool)
        if "r0" in old:
            closed = old["r0"] > 0
            old["r0"] = (old["r0"].detach() - 1).clamp(min=0)
            resting = old["r0"] > 0
            if not self.keeps_current:
                arrived = arrived.masked_fill(closed, 0)
        into = "g0" if "g0" in old else "i0"
        old[into] = old[into] + arrived
        current, rise = old["i0"], old.get("g0")
        moved = by.leak * potential + by.of_current * current
        if rise is not None:
            moved = moved + by.of_rise * rise
            old["g0"] = by.decay * rise
            current = current + by.rise / by.decay * rise
        moved = torch.where(resting, potential, moved)
        above = moved - self.threshold
        fires = (above > 0) & ~resting
        old["h0"] = self.surrogate(above).masked_fill(resting, 0)
        old["v0"] = torch.where(fires, self.reset, moved)
        old["i0"] = by.decay * current
        if "r0" in old:
            old["r0"] = torch.where(fires, self.refractory + 1.0, old["r0"]).to(v.dtype)
            if not self.keeps_current:
                for name in {"i0", into}:
                    old[name] = old[name].masked_fill(fires | resting, 0)
        return tuple(old[name] for name in self.states)


class SparseLIF(Recurrent):
    """Spiking network of leaky integrate-and-fire units, connected by links only.

    Outputs are spikes, 0 and 1. In each step of length ``dt`` what arrives is added to the current
    of a unit, its potential follows ``tau_membrane dv/dt = -v + resistance i`` and its current
    ``tau di/dt = -i`` (both solved exactly), and a potential above the threshold is a spike::

        i += W_ih x_t + b_ih + W_hh h_{t-delay} + b_hh
        v, i = solution over dt
        h_t = v > threshold
        v = reset where h_t

    Potentials are relative to that at rest. The gradient of a spike is that of a ``surrogate``; no
    gradient passes through the reset (Zenke & Vogels 2021).

    States are the spikes ``h0``, potentials ``v0`` and currents ``i0``, each
    ``[num_layers * directions, batch, hidden_size]``; for an alpha synapse also its rise ``g0``;
    where there is a refractory time also ``r0``, one more than the steps of it that are left; with
    a delay of more than one step also ``d0``, ``[..., (delay - 1) * hidden_size]``, the spikes
    before ``h0``, the oldest first. They are passed as a tuple in this order, that of ``states``.

    Args:
        tau_membrane: time constant of potentials.
        synapse: :class:`ExponentialSynapse` or :class:`AlphaSynapse`.
        resistance: how far a constant current of 1 moves a potential.
        threshold: potential above which a unit spikes.
        reset: potential after a spike, below the threshold.
        refractory: number of steps after a spike in which the potential stays at the reset.
        delay: number of steps from a spike to its arrival, at least 1.
        keeps_current: whether currents go on through a spike and the refractory time. If not, a
            spike sets the current to zero, and what arrives up to the end of the refractory time,
            the step of the spike included, is dropped, as in Shiu et al. 2024.
        surrogate: :class:`SuperSpike`, :class:`ATan`, :class:`Triangle`, or a :class:`Surrogate` of
            your own.
        dt: length of a step, in the unit of the time constants.
        **options: the other arguments of :class:`Recurrent`.

    Raises:
        ValueError: an argument out of range, or a threshold that is not above the reset.
        TypeError: a synapse or surrogate of another type.

    Example:
        >>> rnn = SparseLIF(64, 1024, density=0.05, refractory=2, delay=3)
        >>> spikes, (h_n, v_n, *others) = rnn(torch.randn(50, 32, 64))
        >>> spikes.shape, v_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    cell_type = LIF
