"""The same number of new links in each gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey, Use, sample_absent
from sparse_engine.topology.gates import check_gates, gate_blocks
from sparse_engine.topology.grow.base import Grow


@dataclass(frozen=True)
class EqualPerGate(Grow):
    """Uniformly random absent cells, the same number in each gate.

    With :class:`Magnitude` over the whole weight this is the cell-gate redistribution of
    Selfish-RNN (Liu et al. 2021): gates of small values lose more links than they get back.

    The gates are equal blocks of rows. Each gets ``count // gates`` links, the first ones one more
    where a remainder is left; what a gate has no room for goes to the others in the same way.

    Attributes:
        gates: how many blocks the rows make, at least 1.
    """

    gates: int

    def __post_init__(self) -> None:
        check_gates(self.gates)

    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """See :meth:`Grow.grow`.

        Raises:
            ValueError: rows that do not make this number of equal gates, or too few absent cells.
        """
        blocks = gate_blocks(kept, self.gates)
        counts = _spread(count, [block.absent for block in blocks])
        height = weight.shape[0] // self.gates
        # With one key for all gates, equal gates would grow equal cells.
        seeds = key.generator(Use.GATES).integers(-(2**63), 2**63, self.gates).tolist()
        keys = [key._replace(seed=seed) for seed in seeds]
        return torch.cat(
            [
                sample_absent(block, counts[gate], keys[gate]) + gate * height * kept.in_features
                for gate, block in enumerate(blocks)
            ]
        )


def _spread(count: int, rooms: Sequence[int]) -> list[int]:
    """``count`` in equal shares, none greater than its room."""
    if count > sum(rooms):
        raise ValueError(f"expected to grow at most {sum(rooms)} links, found {count}")
    shares = [0] * len(rooms)
    while count > 0:
        free = [i for i, room in enumerate(rooms) if shares[i] < room]
        share, rest = divmod(count, len(free))
        for place, i in enumerate(free):
            more = min(share + (place < rest), rooms[i] - shares[i])
            shares[i] += more
            count -= more
    return shares
