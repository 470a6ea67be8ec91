"""Growth where no link has ever been."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey, sample_absent
from sparse_engine.topology.grow.base import Grow
from sparse_engine.topology.history import union
from sparse_engine.topology.rule import State
from sparse_engine.topology.wiring.base import links_at


class NeverUsed(Grow):
    """Uniformly random cells among those that never held a link, then among the other absent ones.

    In-time over-parameterization (Liu et al. 2021) asks how many cells a training has tried; this
    rule makes it as many as possible. Remembers the cells ever used: 8 bytes for each of them.
    """

    def __init__(self) -> None:
        self.ever: dict[int, Tensor] = {}

    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """See :meth:`Grow.grow`."""
        now = weight.pattern.links.cells()
        ever = union(self.ever.get(key.stream, now), now)
        used = links_at(ever, *weight.shape)
        fresh = sample_absent(used, min(count, used.absent), key)
        self.ever[key.stream] = union(ever, fresh)
        if fresh.numel() == count:
            return fresh
        taken = links_at(union(kept.cells(), fresh), *weight.shape)
        return union(fresh, sample_absent(taken, count - fresh.numel(), key))

    def state_dict(self) -> State:
        """The cells ever used of every weight, by its place in the model."""
        return {str(stream): cells for stream, cells in self.ever.items()}

    def load_state_dict(self, state: State) -> None:
        """Takes over the cells of a saved run.

        Raises:
            ValueError: an entry that is not a vector of increasing cells.
        """
        for name, cells in state.items():
            if (
                not name.isdecimal()
                or not isinstance(cells, Tensor)
                or cells.dtype != torch.int64
                or cells.dim() != 1
                or not (cells.diff() > 0).all()
            ):
                raise ValueError(f"expected increasing cells of a weight, found {name}: {cells!r}")
        self.ever = {int(name): cells for name, cells in state.items()}
