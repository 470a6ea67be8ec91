"""Tracking of balance and of distances along training."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor
from typing_extensions import override

from sparse_engine import convert
from sparse_engine.analysis.balance import structural_balance
from sparse_engine.analysis.distance import topology_distance
from sparse_engine.analysis.layers import LayerLike, RecurrentLayer, layers_of
from sparse_engine.analysis.motifs import triad_census
from sparse_engine.analysis.null_model import null_model
from sparse_engine.nn import SparseWeight
from sparse_engine.nn.recurrent import recurrent_weights
from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.topology import Rewired
from sparse_engine.topology.rewiring import Rewiring
from sparse_engine.topology.rule import State
from sparse_engine.topology.track import Measure, Record


@dataclass(frozen=True)
class Balance(Measure):
    """Measure of the balance of square weights, with the entries of :meth:`BalanceReport.to_dict`.

    Links that the same rewiring grew are left out: they have not been trained, and as long as their
    value is 0, every semicycle through them would count as unbalanced. The other links are the
    "core" of Zhang et al., "Universal structural patterns in sparse recurrent neural networks",
    2023.

    Attributes:
        every: rewirings of a weight from one measurement to the next, at least 1.
        census: whether to add ``census``, the number of triads of each class.
        shuffles: number of graphs with the same links and permuted signs to compare with; where it
            is not 0, ``null`` is added: the entries of :meth:`NullModel.bands` of ``class_mean``,
            ``pooled`` and ``triad_level``, by name.
        seed: seed of the permutations, in [0, 2^64).

    Raises:
        ValueError: ``every`` is less than 1, ``shuffles`` is 1 or negative, or ``seed`` is out of
            range.

    Example:
        >>> tracker = Tracker(rewiring, log.write, measures=[Balance(every=10, shuffles=300)])
    """

    census: bool = False
    shuffles: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shuffles < 0 or self.shuffles == 1 or not 0 <= self.seed < 2**64:
            raise ValueError(
                "expected shuffles of 0, or at least 2, and seed in [0, 2^64), found "
                f"{self.shuffles} and {self.seed}"
            )

    @override
    def measure(self, weight: SparseWeight, rewired: Rewired) -> Record:
        rows, cols = weight.shape
        if rows != cols:
            return {}
        links = convert.to_scipy(weight).tocoo()
        core = np.ones(links.nnz, bool)
        core[rewired.born.cpu().numpy()] = False
        graph = coo_array((links.data[core], (links.row[core], links.col[core])), links.shape)
        record = structural_balance(graph).to_dict()
        if self.census:
            record["census"] = triad_census(graph)
        if self.shuffles:
            record["null"] = null_model(graph, n=self.shuffles, seed=self.seed).bands()
        return record


@dataclass(frozen=True)
class Drift(Measure):
    """Measure of the :func:`topology_distance` of each weight to its first wiring: ``distance``.

    Each weight is compared on its own; the recurrent weight of a cell is a :class:`RecurrentLayer`.
    The first wiring is that when tracking begins. It is part of the rewiring's ``state_dict``.

    Attributes:
        every: rewirings of a weight from one measurement to the next, at least 1.
        bound: how much greater than the smallest distance the found one may be.

    Raises:
        ValueError: ``every`` or ``bound`` too small; where tracking begins, a recurrent weight
            whose gates have different sizes, as in a :class:`sparse_engine.nn.SparseONLSTM`.

    Example:
        >>> records = []
        >>> tracker = Tracker(rewiring, records.append, measures=[Drift(every=10)])
    """

    bound: float = 0.0
    _first: dict[SparseWeight, csr_array] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )
    _recurrent: set[SparseWeight] = field(
        init=False, default_factory=set, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bound >= 0:
            raise ValueError(f"expected bound of at least 0, found {self.bound}")

    @override
    def begin(self, rewiring: Rewiring) -> None:
        self._recurrent.update(recurrent_weights(rewiring.model))
        for weight in rewiring.weights:
            self._first[weight] = convert.to_scipy(weight)
            # A weight that cannot be compared is refused now, not at the first rewiring.
            layers_of([self._layer(weight, weight)])

    def _layer(self, weight: SparseWeight, wiring: SparseWeight | csr_array) -> LayerLike:
        return RecurrentLayer(wiring) if weight in self._recurrent else wiring

    @override
    def measure(self, weight: SparseWeight, rewired: Rewired) -> Record:
        first, now = (self._layer(weight, each) for each in (self._first[weight], weight))
        (distance,) = topology_distance([first], [now], bound=self.bound)
        return {"distance": distance}

    @override
    def state_dict(self) -> State:
        state: State = {}
        for i, first in enumerate(self._first.values()):
            state[f"{i}.crow"] = torch.from_numpy(first.indptr.astype(np.int64))
            state[f"{i}.col"] = torch.from_numpy(first.indices.astype(np.int32))
        return state

    @override
    def load_state_dict(self, state: State) -> None:
        loaded = {}
        for i, weight in enumerate(self._first):
            crow, col = state.get(f"{i}.crow"), state.get(f"{i}.col")
            if not isinstance(crow, Tensor) or not isinstance(col, Tensor):
                raise ValueError(f"expected the first wiring of weight {i} as two tensors")
            Pattern.from_csr(crow, col, weight.shape)
            parts = np.ones(len(col)), col.cpu().numpy(), crow.cpu().numpy()
            loaded[weight] = csr_array(parts, weight.shape)
        self._first.update(loaded)
