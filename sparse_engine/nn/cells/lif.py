"""The network of leaky integrate-and-fire units with sparse recurrent weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_engine.nn.cell import Cell, Layer
from sparse_engine.nn.kernel_cell import captures
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
from sparse_engine.nn.sequence import Sequence
from sparse_engine.nn.spikes import (
    AlphaSynapse,
    ExponentialSynapse,
    Propagator,
    SuperSpike,
    Surrogate,
    Synapse,
)
from sparse_engine.ops.lif import Unit, lif, lif_step, simulate


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
    separate_biases: ClassVar[bool] = False
    operation: ClassVar[Any] = lif

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold <= self.reset:
            raise ValueError(
                f"expected a threshold above the reset, found {self.threshold} and {self.reset}"
            )

    @property
    def unit(self) -> Unit:
        """The numbers of a unit, for the operation."""
        tau, alpha = self.tau_membrane, isinstance(self.synapse, AlphaSynapse)
        by = Propagator.of(self.synapse, tau, self.resistance, self.dt)
        solution = by.leak, by.of_current, by.of_rise, by.decay, by.rise
        whole = self.refractory, self.delay, alpha, self.keeps_current
        return Unit(*solution, self.threshold, self.reset, *whole, self.surrogate)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states: those that the options need."""
        return self.unit.states

    def size_of(self, state: str, hidden_size: int) -> int:
        """Return the number of features of a state; spikes that wait are those of some steps."""
        return hidden_size * (self.delay - 1) if state == "d0" else hidden_size

    def step(
        self, v: Tensor, product: Callable[..., Tensor], state: tuple[Tensor, ...], **given: Any
    ) -> tuple[Tensor, ...]:
        """Compute one time step."""
        return lif_step(v, product, state, unit=self.unit)

    def goes_by_steps(self, layer: Layer, sequence: Sequence) -> bool:
        """Whether the kernel lacks a surrogate, episodes, a device, or factors to capture."""
        on_device = sequence.x.device.type not in ("cpu", "meta")
        lacks = self.unit.code is None or sequence.resets is not None or on_device
        return lacks or captures(layer["weight_hh"])

    def run(
        self, layer: Layer, sequence: Sequence, state: tuple[Tensor | None, ...], **drawn: Tensor
    ) -> tuple[Tensor, ...]:
        """Multiply by the input weight, and call the kernel."""
        weight, bias = layer["weight_hh"], self.biases(layer)[1]
        x = self.input_sums(layer, sequence.x)
        given = x, state, bias, weight.values, weight.pattern
        y, *others, _ = self.operation.full(*given, unit=self.unit)
        return y, sequence.last(y), *others


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

    @torch.no_grad()
    def simulate(
        self,
        steps: int,
        events: tuple[Tensor, Tensor, Tensor | float],
        *,
        refractory: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Simulate one sequence by events, and return the spikes alone.

        Time and memory follow from the spikes, not from the links: only links of units that spiked
        are visited, and nothing of a step is kept but who spiked. The network has no biases, one
        layer and one direction; units start at rest.

        Args:
            steps: number of time steps.
            events: what is added to potentials at the beginning of a step, unless the unit rests:
                the step and the unit of each event, ``[events]`` integers, and its size, a number
                or ``[events]``.
            refractory: refractory steps of each unit, ``[hidden_size]``, in place of the option.
                A unit of 0 steps, as one that is driven by Poisson events, has no refractory time.

        Returns:
            The step and the unit of each spike, ``[spikes]`` int64 each, ordered by step and unit.

        Raises:
            ValueError: a network with biases, several layers or directions, an event out of range.

        Example:
            >>> rnn = SparseLIF(1, 1000, density=0.01, bias=False, keeps_current=False)
            >>> step, unit = (torch.rand(500, 100) < 0.01).nonzero().T
            >>> when, who = rnn.simulate(500, (step, unit, 2.0))
        """
        check_count("steps", steps)
        if self.bias or self.num_layers > 1 or self.bidirectional:
            raise ValueError("expected one layer of one direction without biases to simulate")
        unit, hidden = self.cell.unit, self.hidden_size
        (weight,) = self.recurrent_weights("l0")
        step, target, size = (torch.as_tensor(each) for each in events)
        for name, found, most in (("step", step, steps), ("unit", target, hidden)):
            if found.numel() and not (int(found.min()) >= 0 and int(found.max()) < most):
                raise ValueError(f"expected the {name} of events in [0, {most}), found another")
        step, order = step.sort(stable=True)
        first = torch.searchsorted(step, torch.arange(steps + 1))
        sizes = size.to(weight.dtype).expand(step.shape)[order]
        blank = weight.values.new_zeros
        own = None if refractory is None else refractory.to(weight.dtype)
        where, spikes = simulate(
            weight.values,
            [*weight.pattern],
            first,
            target[order].int(),
            sizes,
            own,
            blank(unit.delay, hidden),
            blank(3 if unit.alpha else 2, hidden),
            blank(1, hidden),
            unit.numbers,
            *unit.kernel_options,
        )
        return torch.repeat_interleave(torch.arange(steps), where.diff()), spikes.long()
