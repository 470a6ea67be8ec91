"""Random growth: anywhere, where no link has been, and the same number in each gate."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey, Use, sample_absent
from sparse_engine.topology.apportion import apportion
from sparse_engine.topology.grow.base import Grow
from sparse_engine.topology.links import gate_blocks, links_at, union
from sparse_engine.topology.rule import State


@dataclass(frozen=True)
class RandomGrowth(Grow):
    """Uniformly random absent cells; a cell whose link was just removed counts as absent."""

    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """See :meth:`Grow.grow`."""
        return sample_absent(kept, count, key)

    def grow_after(
        self, weight: SparseWeight, dropped: Tensor, count: int, key: RandomKey
    ) -> Tensor:
        """See :meth:`Grow.grow_after`."""
        return sample_absent(weight.pattern.links, count, key, dropped=dropped)


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


@dataclass(frozen=True)
class EqualPerGate(Grow):
    """Uniformly random absent cells, the same number in each gate of ``weight.blocks``.

    With :class:`Magnitude` over the whole weight this is the cell-gate redistribution of
    Selfish-RNN (Liu et al. 2021): gates of small values lose more links than they get back.

    Each gate gets an equal share, the first ones one more where a remainder is left; gates of fewer
    rows, such as the masters of an ON-LSTM, get fewer in proportion to their rows. What a gate has
    no room for goes to the others in the same way. A weight that is no gated cell's has one block,
    in which growth is uniform.
    """

    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """See :meth:`Grow.grow`.

        Raises:
            ValueError: fewer than ``count`` cells are absent.
        """
        if count > kept.absent:
            raise ValueError(f"expected to grow at most {kept.absent} links, found {count}")
        blocks = gate_blocks(weight, kept)
        counts = apportion(count, weight.blocks, [block.absent for block in blocks])
        # With one key for all gates, equal gates would grow at equal positions.
        seeds = key.generator(Use.GATES).integers(-(2**63), 2**63, len(blocks)).tolist()
        cells = []
        for gate, first in enumerate(accumulate(weight.blocks[:-1], initial=0)):
            own = key._replace(seed=seeds[gate])
            drawn = sample_absent(blocks[gate], counts[gate], own)
            cells.append(drawn + first * kept.in_features)
        return torch.cat(cells)
