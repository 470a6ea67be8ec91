"""The same number of new links in each gate."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey, Use, sample_absent
from sparse_engine.topology.apportion import apportion
from sparse_engine.topology.gates import gate_blocks
from sparse_engine.topology.grow.base import Grow


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
