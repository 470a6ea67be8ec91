"""A cut within each gate of a gated cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey, smallest
from sparse_engine.topology.gates import gate_blocks
from sparse_engine.topology.prune._checks import ordered
from sparse_engine.topology.prune.base import Prune, Share
from sparse_engine.topology.rule import State


@dataclass(frozen=True)
class PerGate(Prune):
    """Another rule's score, cut off within each gate instead of over the whole weight.

    Of a gate's n links the ``floor(fraction * n)`` of least score go, among equals the first. The
    gates are ``weight.blocks``: the four of an LSTM are ``weight[:h]``, ``weight[h:2 * h]`` and so
    on, and a weight that is no gated cell's is cut as a whole.

    Attributes:
        rule: one that removes the lower end of a score.

    Raises:
        ValueError: a rule that chooses links in another way.
    """

    rule: Prune

    def __post_init__(self) -> None:
        if type(self.rule).drop is not Prune.drop:
            raise ValueError(f"expected a rule made of a score alone, found {self.rule}")

    def score(self, weight: SparseWeight) -> Tensor:
        """See :meth:`Prune.score`."""
        return self.rule.score(weight)

    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        """See :meth:`Prune.drop`."""
        sizes = [block.nnz for block in gate_blocks(weight, weight.pattern.links)]
        scores = ordered(self.score(weight)).split(sizes)
        return torch.cat([smallest(each, int(fraction * each.numel())) for each in scores])

    def state_dict(self) -> State:
        """The memory of the rule within."""
        return self.rule.state_dict()

    def load_state_dict(self, state: State) -> None:
        """See :meth:`Rule.load_state_dict`."""
        self.rule.load_state_dict(state)
