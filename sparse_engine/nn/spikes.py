"""Parts of a spiking cell: surrogate gradients, and synapses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.nn.options import check_duration


@dataclass(frozen=True)
class Surrogate:
    """Spike of a unit, 1 above its threshold and 0 below, with the gradient of a smooth function.

    A subclass writes :meth:`soft`, the smooth function, in plain torch::

        class Sigmoid(Surrogate):
            def soft(self, u):
                return torch.sigmoid(self.scale * u)

    Args:
        scale: how fast the gradient falls with the distance from the threshold, in 1 / unit of the
            potential.

    Raises:
        ValueError: a scale that is not positive and finite.
    """

    scale: float = 10.0

    def __post_init__(self) -> None:
        check_duration("scale", self.scale)

    def soft(self, u: Tensor) -> Tensor:
        """Return the smooth function of the potential above threshold; finite everywhere."""
        raise NotImplementedError

    def __call__(self, u: Tensor) -> Tensor:
        """Return 1 where the potential ``u`` above threshold is positive, and 0 elsewhere."""
        soft = self.soft(u)
        return (u > 0).to(u.dtype) + (soft - soft.detach())  # plus 0, whose gradient is soft's


@dataclass(frozen=True)
class SuperSpike(Surrogate):
    """The gradient ``1 / (1 + scale |u|)^2`` (Zenke & Ganguli 2018).

    Example:
        >>> network = SparseLIF(3, 64, density=0.1, surrogate=SuperSpike(scale=10.0))
    """

    def soft(self, u: Tensor) -> Tensor:
        """Return ``u / (1 + scale |u|)``."""
        return u / (1 + self.scale * u.abs())


@dataclass(frozen=True)
class ATan(Surrogate):
    """The gradient ``1 / (1 + (scale u)^2)`` (Fang et al. 2021).

    Example:
        >>> network = SparseLIF(3, 64, density=0.1, surrogate=ATan(scale=10.0))
    """

    def soft(self, u: Tensor) -> Tensor:
        """Return ``atan(scale u) / scale``."""
        return torch.atan(self.scale * u) / self.scale


@dataclass(frozen=True)
class Triangle(Surrogate):
    """The gradient ``max(0, 1 - scale |u|)`` (Bellec et al. 2018), 0 far from the threshold.

    Example:
        >>> network = SparseLIF(3, 64, density=0.1, surrogate=Triangle())
    """

    scale: float = 1.0

    def soft(self, u: Tensor) -> Tensor:
        """Return the integral of the gradient from the threshold on."""
        near = (self.scale * u).clamp(-1, 1)
        return (near - near * near.abs() / 2) / self.scale


@dataclass(frozen=True)
class Synapse:
    """How the current of a unit follows on a spike; the base of both kinds of synapses.

    Args:
        tau: time constant, in the unit of time of the cell.

    Raises:
        ValueError: a time constant that is not positive and finite.
    """

    tau: float = 5.0

    def __post_init__(self) -> None:
        check_duration("tau of a synapse", self.tau)


@dataclass(frozen=True)
class ExponentialSynapse(Synapse):
    """The current jumps by the weight, and decays as ``exp(-t / tau)``.

    Example:
        >>> network = SparseLIF(3, 64, density=0.1, synapse=ExponentialSynapse(tau=5.0))
    """


@dataclass(frozen=True)
class AlphaSynapse(Synapse):
    """The current rises and falls as ``(t / tau) exp(-t / tau)`` times the weight.

    Its integral over time is that of an :class:`ExponentialSynapse`.

    Example:
        >>> network = SparseLIF(3, 64, density=0.1, synapse=AlphaSynapse(tau=5.0))
    """


@dataclass(frozen=True)
class Propagator:
    """The exact solution over one step of a leaky potential v, its current i, and its rise g.

    ``v' = leak v + of_current i + of_rise g``, ``i' = decay i + rise g``, ``g' = decay g``, where
    ``tau_membrane dv/dt = -v + resistance i`` and, of an alpha synapse, ``tau di/dt = -i + g``.
    """

    leak: float
    of_current: float
    of_rise: float
    decay: float
    rise: float

    @classmethod
    def of(cls, synapse: Synapse, tau_membrane: float, resistance: float, dt: float) -> Propagator:
        """Return the solution for a synapse; time constants may be equal."""
        leak, decay = math.exp(-dt / tau_membrane), math.exp(-dt / synapse.tau)
        x = dt / tau_membrane - dt / synapse.tau
        scale = resistance * dt / tau_membrane * leak
        of_current, of_rise, rise = scale * _moment(x, 0), 0.0, 0.0
        if isinstance(synapse, AlphaSynapse):
            of_rise, rise = scale * dt / synapse.tau * _moment(x, 1), dt / synapse.tau * decay
        return cls(leak, of_current, of_rise, decay, rise)


def _moment(x: float, order: int) -> float:
    """Return the integral of ``u^order exp(x u)`` for u from 0 to 1."""
    if abs(x) < 1:  # the closed forms cancel
        return sum(x**k / (math.factorial(k) * (k + order + 1)) for k in range(20))
    first = math.expm1(x) / x
    return first if order == 0 else (math.exp(x) - first) / x
