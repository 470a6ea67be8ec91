"""Grow rules, where a rewiring makes new links, and value rules, at which values they start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.nn.options import check_fraction, check_number
from sparse_engine.ops import Links, Pattern, RandomKey, Use, sddmm
from sparse_engine.ops.topology import (
    Predicted,
    ch2_l3n,
    ch3_l3,
    largest,
    rewire,
    sample_absent,
    scan_absent,
)
from sparse_engine.topology import ranks
from sparse_engine.topology.apportion import apportion
from sparse_engine.topology.links import are_positions, gate_blocks, links_at, union
from sparse_engine.topology.rule import Rule, State

__all__ = [
    "CH3L3",
    "CH2L3n",
    "CandidateGradientGrowth",
    "EqualPerGate",
    "GradientGrowth",
    "Grow",
    "LinkPrediction",
    "MomentumGrowth",
    "NeverUsed",
    "NewLinkInit",
    "NormalInit",
    "RandomGrowth",
    "ZeroInit",
]  # fmt: skip


class Grow(Rule, ABC):
    """Choice of positions for new links. Your own rule is a subclass with one method.

    Attributes:
        window: number of training steps before a rewiring whose dense gradient the rule reads; 0
            for none. The factors of these gradients are in ``weight.captured``, on each rank of
            ``torch.distributed`` those of its own batches.

    Example:
        >>> class FirstAbsent(Grow):
        ...     def grow(self, weight, kept, count, key):
        ...         size = weight.out_features * weight.in_features
        ...         held = kept.rows() * weight.in_features + kept.col
        ...         return torch.arange(size)[~torch.isin(torch.arange(size), held)][:count]
    """

    window: int = 0

    @abstractmethod
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """Choose ``count`` positions that hold no link.

        Args:
            weight: the weight before the rewiring, which must not be changed. ``weight.captured``
                has the factors of the last ``window`` steps, see :class:`SparseWeight`.
            kept: the links that survive; a position must not be one of them.
            count: how many positions.
            key: this rewiring's own stream of random numbers.

        Returns:
            int64 ``[count]``, ``row * in_features + column``, increasing.

        Raises:
            ValueError: fewer than ``count`` positions are absent; where the rule reads gradients,
                there was no backward pass, or NaN is in the gradient.
        """

    def grow_after(
        self, weight: SparseWeight, dropped: Tensor, count: int, key: RandomKey
    ) -> Tensor:
        """Call :meth:`grow` with the survivors; a rule that needs no list of these overrides it."""
        no_positions = torch.empty(0, dtype=torch.int64, device=dropped.device)
        kept = rewire(weight.pattern.links, ~dropped, no_positions).links
        return self.grow(weight, kept, count, key)


@dataclass(frozen=True)
class RandomGrowth(Grow):
    """Growth at uniformly random absent positions, those of links just removed included.

    Example:
        >>> rewiring = Rewiring(model, optimizer, prune=Magnitude(), grow=RandomGrowth())
    """

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

    @override
    def state_dict(self) -> State:
        return {str(stream): positions for stream, positions in self.ever.items()}

    @override
    def load_state_dict(self, state: State) -> None:
        for name, positions in state.items():
            if not name.isdecimal() or not are_positions(positions):
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


#: The dense gradient is computed in blocks of at most this many entries, or one row.
BLOCK = 1 << 20

#: Factors ``(dy [n, out], x [n, in])`` of a sum of ``scale * dy.T @ x``.
Terms = list[tuple[float, Tensor, Tensor]]


@dataclass(frozen=True)
class GradientGrowth(Grow):
    """Growth of RigL (Evci et al. 2020): the absent positions of largest dense gradient, exactly.

    Equals ``(dy.T @ x).abs()`` at the positions without a surviving link, its ``count`` largest;
    among equals the first. The gradient is that of the last step, summed over all uses of the
    weight and all backward passes in it, and averaged over the ranks that train the model together.
    The product is streamed in blocks of rows, so that memory is proportional to the step's
    activations and the new links.

    Example:
        >>> rewiring = Rewiring(model, optimizer, prune=Magnitude(), grow=GradientGrowth())
    """

    window = 1
    beta = 1.0

    @override
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        return strongest_absent(kept, captured_terms(weight, self.beta), count)


@dataclass(frozen=True)
class MomentumGrowth(GradientGrowth):
    """Growth of sparse momentum (Dettmers and Zettlemoyer 2019): the largest mean gradient.

    This is :class:`GradientGrowth` for the momentum of the last ``window`` steps in place of the
    gradient, ``sum over steps s of beta ** (steps after s) * gradient(s)``. The paper keeps a dense
    momentum since the start of training; gradients of earlier steps would have a weight of
    ``beta ** window`` or less.

    Attributes:
        window: number of steps, at least 1; memory grows with it.
        beta: decay per step, in [0, 1].
    """

    window: int = 10
    beta: float = 0.9

    def __post_init__(self) -> None:
        check_number("window of at least 1 step", self.window, lambda steps: steps >= 1)
        check_fraction("beta", self.beta)


def captured_terms(weight: SparseWeight, beta: float = 1.0) -> Terms:
    """Return the captured factors of the gradient; s steps before the last weigh ``beta ** s``.

    A rank on which the weight was not in use has factors of no rows where another rank has some.
    """
    steps = weight.captured or []
    terms = [
        (beta ** (len(steps) - 1 - s), dy, x) for s, pairs in enumerate(steps) for dy, x in pairs
    ]
    if not ranks.mean_(weight.values.new_tensor(float(len(terms)))):
        raise ValueError(
            "expected a backward pass through the weight before it is rewired by its gradient, "
            "found none; call step() after backward(), and rewire() only from step()"
        )
    no_rows = [weight.values.new_empty(0, size) for size in weight.shape]
    return terms or [(1.0, no_rows[0], no_rows[1])]


def strongest_absent(kept: Links, terms: Terms, count: int) -> Tensor:
    """Return the absent positions of largest ``abs(sum scale * dy.T @ x)``, increasing."""
    if not 0 <= count <= kept.absent:
        raise ValueError(f"expected to grow between 0 and {kept.absent} links, found {count}")
    best, positions, bound = terms[0][1].new_empty(0), kept.crow.new_empty(0), -1.0
    for first, block in gradient_blocks(terms):
        magnitudes, found = scan_absent(block, kept, first_row=first, above=bound)
        if magnitudes.isnan().any():
            raise ValueError("expected a gradient that can be ordered, found NaN in it")
        best, positions = torch.cat([best, magnitudes]), torch.cat([positions, found])
        if best.numel() > count:
            chosen = largest(best, count)
            best, positions = best[chosen], positions[chosen]
            bound = float(best.min()) if count else torch.inf
    return positions


def gradient_blocks(terms: Terms) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row and the rows of each block of ``sum scale * dy.T @ x``.

    Each block is averaged over ranks, as DistributedDataParallel averages the gradients of links.
    """
    out_features, in_features = terms[0][1].shape[1], terms[0][2].shape[1]
    height = max(1, BLOCK // max(1, in_features))
    for first in range(0, out_features, height):
        block = terms[0][2].new_zeros(min(height, out_features - first), in_features)
        for scale, dy, x in terms:
            block.addmm_(dy[:, first : first + height].T, x, alpha=scale)
        yield first, ranks.mean_(block)


@dataclass(frozen=True)
class CandidateGradientGrowth(Grow):
    """Guided stochastic exploration (Heddes et al. 2024): gradient growth in linear time.

    Links grow at those of ``ratio * nnz`` uniformly random absent positions that have the largest
    gradient by magnitude; among equals at the first. With as many candidates as there are absent
    positions this is :class:`GradientGrowth`.

    Attributes:
        ratio: candidates per link, at least 0; never fewer than new links.
    """

    ratio: float = 1.0

    window = 1

    def __post_init__(self) -> None:
        check_number("ratio of at least 0", self.ratio, lambda ratio: ratio >= 0)

    @override
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        terms = captured_terms(weight)
        drawn = min(round(self.ratio * weight.nnz), kept.absent)
        candidates = sample_absent(kept, max(count, drawn), key)
        pattern = Pattern.of(links_at(candidates, *weight.shape))
        gradient = weight.values.new_zeros(candidates.numel())
        for _, dy, x in terms:
            gradient += sddmm(pattern, dy.T, x.T)
        return candidates[largest(ranks.mean_(gradient).abs_(), count)]


@dataclass(frozen=True)
class LinkPrediction(Grow):
    """Growth at the absent positions of greatest score; values and gradients do not matter.

    Where fewer positions than are wanted have a score above 0, uniformly random others join them.
    A score of your own is a subclass with one method, ``predict``.

    Attributes:
        soft: whether positions are drawn one by one in proportion to their scores. This is the soft
            rule of CHTs (Zhang et al., NeurIPS 2025), which keeps growth from choosing the
            positions that were just pruned.
    """

    soft: bool = field(default=False, kw_only=True)

    @abstractmethod
    def predict(self, links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
        """Predict the ``count`` absent positions of greatest score, or all with a score above 0.

        Args:
            links: the links that survive.
            count: how many positions.
            key: random numbers with which positions are sampled in proportion to the scores; None
                takes those of greatest score.
        """

    @override
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        if count > kept.absent:
            raise ValueError(f"expected to grow at most {kept.absent} links, found {count}")
        positions = self.predict(kept, count, key=key if self.soft else None).positions
        if len(positions) == count:
            return positions
        taken = rewire(kept, torch.ones_like(kept.col, dtype=torch.bool), positions).links
        others = sample_absent(taken, count - len(positions), key)
        return torch.cat([positions, others]).sort().values


class CH3L3(LinkPrediction):
    """Cannistraci-Hebb rule on paths of length 3, as in CHT (Zhang et al., ICLR 2024).

    The score of a position, :func:`~sparse_engine.ops.topology.ch3_l3`, is a sum over the paths of
    three links between the position's two units. A path weighs more if its inner units have few
    links to units off such paths. Growth closes the local communities that exist, and takes time
    proportional to ``nnz * fan_in * fan_out``.
    """

    @override
    def predict(self, links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
        return ch3_l3(links, count, key=key)


class CH2L3n(LinkPrediction):
    """Node-based Cannistraci-Hebb rule of CHTs (Zhang et al., NeurIPS 2025).

    The score of a position, :func:`~sparse_engine.ops.topology.ch2_l3n`, is a sum over the units on
    paths of three links between the position's two units. A unit weighs more if more of its own
    links lead to such units. CHTs draws new links in proportion to this score:
    ``CH2L3n(soft=True)``.
    """

    @override
    def predict(self, links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
        return ch2_l3n(links, count, key=key)


class NewLinkInit(ABC):
    """Value rule: the first values of new links. Your own is a subclass with one method.

    Example:
        >>> class Small(NewLinkInit):
        ...     def values(self, weight, count, key):
        ...         return weight.values.new_full((count,), 1e-3)
    """

    @abstractmethod
    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        """Return ``[count]`` values of the weight's dtype and device, in the order of the links."""


@dataclass(frozen=True)
class ZeroInit(NewLinkInit):
    """Start at 0: the network's function does not change, and the gradient finds the sign."""

    @override
    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        return weight.values.new_zeros(count)


@dataclass(frozen=True)
class NormalInit(NewLinkInit):
    """Start at N(0, std), as in the original SET.

    Attributes:
        std: standard deviation, at least 0.

    Example:
        >>> rewiring = SET(model, optimizer, new_links=NormalInit(std=0.01))
    """

    std: float

    @override
    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        drawn = self.std * key.generator(Use.NEW_LINKS).standard_normal(count)
        return torch.from_numpy(drawn).to(weight.values)
