"""What is rewired, and the rows that say what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Adam

from benchmarks._harness import Timing
from benchmarks._profile import as_percent
from benchmarks._report import Row, quartiles
from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import NewLinkInit


@dataclass(frozen=True)
class Case:
    """A square weight and a method that rewires it.

    Attributes:
        method: its name.
        neurons: rows and columns.
        links: entries.
    """

    method: str
    neurons: int
    links: int

    def weight(self) -> SparseWeight:
        """A random one of these sizes."""
        density = self.links / self.neurons**2
        return SparseWeight.erdos_renyi(self.neurons, self.neurons, density=density)

    def row(
        self,
        quantity: str,
        measured: float | None,
        unit: str,
        *,
        target: str | None = None,
        **more: object,
    ) -> Row:
        """A quantity beside what it should be."""
        return {
            "method": self.method,
            "n": self.neurons,
            "links": self.links,
            "quantity": quantity,
            "measured": measured,
            "unit": unit,
            "target": target,
            "times": {},
            **more,
        }

    def time(
        self,
        quantity: str,
        timing: Timing,
        *,
        target: str | None = None,
        shares: dict[str, float] | None = None,
    ) -> Row:
        """A time, what it is per link, and where it goes."""
        more: dict[str, object] = {"ns per link": 1e9 * timing.median / self.links}
        if shares is not None:
            more |= {"of it": as_percent(shares), "shares": shares}
        return self.row(
            quantity,
            timing.median,
            "s",
            target=target,
            **(more | quartiles({quantity: timing})),
        )


class Trained(NewLinkInit):
    """New links have values as if training had moved them.

    Where nothing trains between rewirings, links that start at 0 would all go with the next.
    """

    def __init__(self, weight: SparseWeight) -> None:
        self.ready = weight.values.detach().clone()

    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        """See :meth:`NewLinkInit.values`."""
        return self.ready[:count]


def adam(weight: SparseWeight) -> Adam:
    """An optimizer that has made a step, and so has two numbers of state per link."""
    optimizer = Adam(weight.parameters())
    weight.values.grad = torch.randn_like(weight.values)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer
