"""Weights that are rewired."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import NewLinkInit


class Case(NamedTuple):
    """A square weight."""

    neurons: int
    links: int

    def __str__(self) -> str:
        return f"n={self.neurons}, {self.links} links"

    def weight(self) -> SparseWeight:
        """Return a random one of these sizes."""
        density = self.links / self.neurons**2
        return SparseWeight.erdos_renyi(self.neurons, self.neurons, density=density)


class Trained(NewLinkInit):
    """New links have values as if training had moved them.

    Where nothing trains between rewirings, links that start at 0 would all go with the next.
    """

    def __init__(self, weight: SparseWeight) -> None:
        self.ready = weight.values.detach().clone()

    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        """Return values of new links, see :meth:`NewLinkInit.values`."""
        return self.ready[:count]


def adam(weight: SparseWeight) -> Adam:
    """Return an optimizer that has made a step, and so has two numbers of state per link."""
    optimizer = Adam(weight.parameters())
    weight.values.grad = torch.randn_like(weight.values)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer
