"""Deep rewiring: a random walk that replaces links whose sign changes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch.optim import Optimizer
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.nn.options import check_number
from sparse_engine.ops import Use
from sparse_engine.topology.grow import RandomGrowth
from sparse_engine.topology.methods import Method
from sparse_engine.topology.prune import AssignedSign


@dataclass(eq=False, repr=False, kw_only=True)
class DeepR(Method):
    """Deep rewiring (Bellec et al., ICLR 2018).

    Every position has a fixed sign, and a link's magnitude is ``theta = sign * w``. After each step
    of the optimizer, with its learning rate lr and a standard normal number for each link::

        theta = theta - lr * l1 + sqrt(2 * lr * temperature) * normal

    A link whose theta falls below 0 is removed, and another grows at a uniformly random absent
    position with the value 0. The method suits SGD without momentum, as in the paper.

    The constructor gives all values of the model the signs of their positions, in place.

    Args:
        model, optimizer, options: as for every method. The paper starts from random positions, as
            :class:`~sparse_engine.nn.SparseWeight` does.
        l1: step towards 0, the paper's alpha, at least 0.
        temperature: temperature of the walk, at least 0. The default is the noise of the paper's
            script, 1e-5 times its learning rate of 0.5.
        every: steps between rewirings, walks included.

    Raises:
        ValueError: an optimizer that does not train every weight.
    """

    prune: AssignedSign = field(init=False)
    l1: float = 1e-5
    temperature: float = 2.5e-11
    every: int = 1

    def __post_init__(self) -> None:
        check_number("a finite l1 of at least 0", self.l1, _scales)
        check_number("a finite temperature of at least 0", self.temperature, _scales)
        self._start(AssignedSign(), RandomGrowth())
        with self._whole(), torch.no_grad():
            for key, weight in self._moving():
                self.walk(weight)
                signs = self.prune.signs(weight, key)
                weight.values.copy_(weight.values.abs() * signs)

    def walk(self, weight: SparseWeight) -> tuple[float, float]:
        """Return how far each theta of a weight falls, and the standard deviation of the noise."""
        rate = _learning_rate(self.optimizer, weight)
        return rate * self.l1, math.sqrt(2 * rate * self.temperature)

    @torch.no_grad()
    def _rewire(self) -> None:
        """Take one step of the walk, then rewire."""
        for key, weight in self._moving():
            pull, spread = self.walk(weight)
            noise = torch.from_numpy(key.generator(Use.NOISE).standard_normal(weight.nnz))
            weight.values.add_(noise.to(weight.values), alpha=spread)
            weight.values.sub_(self.prune.signs(weight, key), alpha=pull)
        super()._rewire()


@dataclass(eq=False, repr=False, kw_only=True)
class PeriodicDeepR(DeepR):
    """Deep rewiring once in a while, as Zhang et al. (Communications Physics 2023) use it.

    The walk of :class:`DeepR` has its own constants here, whatever the learning rate, and is taken
    once every ``every`` steps, so that any optimizer suits::

        theta = theta - l1 + noise * normal

    Args:
        model, optimizer, options: as for every method.
        l1: step towards 0, at least 0 (the paper: 1e-5 to 1e-3).
        noise: standard deviation of the noise, at least 0 (the paper: 1e-6 to 1e-3).
        every: steps between rewirings (the paper: one epoch).
    """

    temperature: float = field(default=0.0, init=False)
    noise: float = 1e-5
    every: int = 100

    def __post_init__(self) -> None:
        check_number("a finite noise of at least 0", self.noise, _scales)
        super().__post_init__()

    @override
    def walk(self, weight: SparseWeight) -> tuple[float, float]:
        return self.l1, self.noise


def _learning_rate(optimizer: Optimizer | None, weight: SparseWeight) -> float:
    for group in [] if optimizer is None else optimizer.param_groups:
        if any(parameter is weight.values for parameter in group["params"]):
            return float(group["lr"])
    raise ValueError(f"expected an optimizer that trains every weight, found none for {weight}")


def _scales(value: float) -> bool:
    return 0 <= value < math.inf
