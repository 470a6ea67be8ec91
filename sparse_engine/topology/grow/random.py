"""Random growth: anywhere, at positions without earlier links, or equally in each gate."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey, Use, sample_absent
from sparse_engine.topology.apportion import apportion
from sparse_engine.topology.grow.base import Grow
from sparse_engine.topology.links import gate_blocks, links_at, union
from sparse_engine.topology.rule import State


@dataclass(frozen=True)
class RandomGrowth(Grow):
    """Growth at uniformly random absent positions, those of links just removed included."""

    @override
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        return sample_absent(kept, count, key)

    @override
    def grow_after(
        self, weight: SparseWeight, dropped: Tensor, count: int, key: RandomKey
    ) -> Tensor:
        return sample_absent(weight.pattern.links, count, key, dropped=dropped)


class NeverUsed(Grow):
    """Growth at random positions that never held a link, then at other absent positions.

    In-time over-parameterization (Liu et al. 2021) asks how many positions a training has tried;
    this rule tries as many as possible. It remembers the positions ever used, in 8 bytes each.
    """

    def __init__(self) -> None:
        self.ever: dict[int, Tensor] = {}

    @override
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        now = weight.pattern.links.positions()
        ever = union(self.ever.get(key.stream, now), now)
        used = links_at(ever, *weight.shape)
        fresh = sample_absent(used, min(count, used.absent), key)
        self.ever[key.stream] = union(ever, fresh)
        if fresh.numel() == count:
            return fresh
        taken = links_at(union(kept.positions(), fresh), *weight.shape)
        return union(fresh, sample_absent(taken, count - fresh.numel(), key))

    def state_dict(self) -> State:
        """Return the positions ever used, by the number of their weight in the model."""
        return {str(stream): positions for stream, positions in self.ever.items()}

    def load_state_dict(self, state: State) -> None:
        """Load the positions of a saved run.

        Raises:
            ValueError: an entry that is not a vector of increasing positions.
        """
        for name, positions in state.items():
            if (
                not name.isdecimal()
                or not isinstance(positions, Tensor)
                or positions.dtype != torch.int64
                or positions.dim() != 1
                or not (positions.diff() > 0).all()
            ):
                raise ValueError(
                    f"expected increasing positions of a weight, found {name}: {positions!r}"
                )
        self.ever = {int(name): positions for name, positions in state.items()}


@dataclass(frozen=True)
class EqualPerGate(Grow):
    """Growth at uniformly random absent positions, equally many in each gate (``weight.blocks``).

    With :class:`Magnitude` over the whole weight this is the cell-gate redistribution of
    Selfish-RNN (Liu et al. 2021): gates of small values lose more links than they get back.

    Each gate gets an equal share, the first ones one more where a remainder is left; gates of fewer
    rows, such as the masters of an ON-LSTM, get fewer in proportion to their rows. Links for which
    a gate has no room go to the other gates in the same way. The weight of a cell without gates has
    one block, in which growth is uniform.
    """

    @override
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """Choose the positions, see :meth:`Grow.grow`.

        Raises:
            ValueError: fewer than ``count`` positions are absent.
        """
        if count > kept.absent:
            raise ValueError(f"expected to grow at most {kept.absent} links, found {count}")
        blocks = gate_blocks(weight, kept)
        counts = apportion(count, weight.blocks, [block.absent for block in blocks])
        # With one key for all gates, equal gates would grow at equal positions.
        seeds = key.generator(Use.GATES).integers(-(2**63), 2**63, len(blocks)).tolist()
        positions = []
        for gate, first in enumerate(accumulate(weight.blocks[:-1], initial=0)):
            own = key._replace(seed=seeds[gate])
            drawn = sample_absent(blocks[gate], counts[gate], own)
            positions.append(drawn + first * kept.in_features)
        return torch.cat(positions)
