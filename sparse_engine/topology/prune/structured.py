"""Pruning by neurons and by gates."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.nn.options import check_fraction, check_number
from sparse_engine.ops import RandomKey
from sparse_engine.ops.topology import smallest
from sparse_engine.topology.links import gate_blocks
from sparse_engine.topology.prune.magnitude import Prune, Share, ordered
from sparse_engine.topology.rule import State


@dataclass(frozen=True)
class NeuronImportance(Prune):
    """Pruning of all links into the neurons of least importance, the sum of ``|w|`` in a row.

    Importance pruning of truly sparse networks at scale (Curci et al. 2021). In the paper these
    links are not replaced; :class:`Rewiring` grows as many elsewhere where no density schedule says
    otherwise. The fraction that a rewiring asks for does not matter. Give exactly one of the two:

    Attributes:
        share: fraction of the n neurons with links, in [0, 1]: ``floor(share * n)`` of them lose
            their links, among equals the first. Those without links do not count, so that pruning
            goes on.
        threshold: importance, at least 0, up to which neurons lose their links.
    """

    share: float | None = None
    _: KW_ONLY
    threshold: float | None = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.threshold is None):
            raise ValueError("expected exactly one of share and threshold")
        if self.share is not None:
            check_fraction("share", self.share)
        if self.threshold is not None:
            check_number("threshold of at least 0", self.threshold, lambda least: least >= 0)

    @override
    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        magnitude = ordered(weight.values.detach().abs()).double()
        importance = torch.segment_reduce(magnitude, "sum", offsets=weight.crow_indices)
        fan_in = weight.fan_in()
        return self._fall(importance, fan_in > 0).repeat_interleave(fan_in, output_size=weight.nnz)

    def _fall(self, importance: Tensor, linked: Tensor) -> Tensor:
        """Mark the neurons that lose their links."""
        if self.threshold is not None:
            return importance <= self.threshold
        assert self.share is not None
        count = int(self.share * int(torch.count_nonzero(linked)))
        fall = torch.zeros_like(linked)
        fall[linked] = smallest(importance[linked], count)
        return fall


@dataclass(frozen=True)
class PerGate(Prune):
    """Pruning by the score of another rule, within each gate instead of over the whole weight.

    Of the n links of a gate, the ``floor(fraction * n)`` of least score are removed, among equals
    the first.
    The gates are ``weight.blocks``: those of an LSTM are ``weight[:h]``, ``weight[h:2 * h]`` and so
    on. A weight of a cell without gates is one block.

    Attributes:
        rule: a rule that removes the links of least score.

    Raises:
        ValueError: a rule that chooses links in another way.
    """

    rule: Prune

    def __post_init__(self) -> None:
        if type(self.rule).drop is not Prune.drop:
            raise ValueError(f"expected a rule made of a score alone, found {self.rule}")

    @override
    def score(self, weight: SparseWeight) -> Tensor:
        return self.rule.score(weight)

    @override
    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        sizes = [block.nnz for block in gate_blocks(weight, weight.pattern.links)]
        scores = ordered(self.score(weight)).split(sizes)
        return torch.cat([smallest(each, int(fraction * each.numel())) for each in scores])

    @override
    def state_dict(self) -> State:
        return self.rule.state_dict()

    @override
    def load_state_dict(self, state: State) -> None:
        self.rule.load_state_dict(state)
