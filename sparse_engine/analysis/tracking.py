"""Tracking of balance and of distances along training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor
from typing_extensions import override

from sparse_engine import convert
from sparse_engine.analysis.balance import structural_balance
from sparse_engine.analysis.census import triad_census
from sparse_engine.analysis.distance import topology_distance
from sparse_engine.analysis.layers import LayerLike, RecurrentLayer, layers_of
from sparse_engine.analysis.null_model import null_model
from sparse_engine.nn import SparseWeight
from sparse_engine.nn.recurrent_weights import recurrent_weights
from sparse_engine.ops import Rewired
from sparse_engine.ops.pattern import Pattern
from sparse_engine.topology.rewiring import Rewiring
from sparse_engine.topology.rule import Rule, State
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


class Drift(Rule):
    """Record of the :func:`topology_distance` of each weight to its first wiring.

    Each weight is compared on its own; the recurrent weight of a cell is a :class:`RecurrentLayer`.
    The memory, which is the first wiring and a count for each weight, is part of the rewiring's
    ``state_dict``.

    A record has these entries:

    - ``step``: time of the rewiring's clock; ``weight``: name of the weight in the model;
      ``rewirings``: number of this weight's rewirings since tracking began.
    - ``distance``: in [0, 1].

    Args:
        rewiring: the rewiring to observe. The model's wiring now counts as the first.
        sinks: functions called with each record, see :class:`sparse_engine.topology.Tracker`.
        every: rewirings of a weight from one record to the next, at least 1.
        bound: how much greater than the smallest distance the found one may be.

    Raises:
        ValueError: ``every`` or ``bound`` too small, or a recurrent weight whose gates have
            different sizes, such as that of a :class:`sparse_engine.nn.SparseONLSTM`.

    Example:
        >>> records = []
        >>> drift = Drift(rewiring, records.append, every=10)
    """

    def __init__(
        self,
        rewiring: Rewiring,
        *sinks: Callable[[dict[str, object]], object],
        every: int = 1,
        bound: float = 0.0,
    ) -> None:
        if every < 1 or not bound >= 0:
            raise ValueError(
                f"expected every of at least 1 and bound of at least 0, found {every} and {bound}"
            )
        self.rewiring = rewiring
        self.sinks = list(sinks)
        self.every = every
        self.bound = bound
        self.rewirings = dict.fromkeys(rewiring.names, 0)
        self.first = {
            name: convert.to_scipy(weight)
            for name, weight in zip(rewiring.names, rewiring.weights, strict=True)
        }
        recurrent = recurrent_weights(rewiring.model)
        self._recurrent = {
            name
            for name, weight in zip(rewiring.names, rewiring.weights, strict=True)
            if weight in recurrent
        }
        # Weights that cannot be compared are refused now, not at the first rewiring.
        for name, first in self.first.items():
            layers_of([self._layer(name, first)])
        rewiring.observers.append(self)

    def __call__(self, name: str, weight: SparseWeight, rewired: Rewired) -> None:
        """Record one rewiring of one weight."""
        self.rewirings[name] += 1
        if self.rewirings[name] % self.every:
            return
        layers = [self._layer(name, w) for w in (self.first[name], weight)]
        (distance,) = topology_distance(layers[:1], layers[1:], bound=self.bound)
        record = {
            "step": self.rewiring.steps,
            "weight": name,
            "rewirings": self.rewirings[name],
            "distance": distance,
        }
        for sink in self.sinks:
            sink(record)

    @override
    def state_dict(self) -> State:
        state: State = {}
        for i, (name, first) in enumerate(self.first.items()):
            state[f"{i}.rewirings"] = self.rewirings[name]
            state[f"{i}.crow"] = torch.from_numpy(first.indptr.astype(np.int64))
            state[f"{i}.col"] = torch.from_numpy(first.indices.astype(np.int32))
        return state

    def load_state_dict(self, state: State) -> None:
        """Load the memory of a saved run.

        Raises:
            ValueError: entries missing, or of another model.
        """
        if state.keys() != self.state_dict().keys():
            raise ValueError(
                f"expected the first wirings of {len(self.first)} weights, found {sorted(state)}"
            )
        loaded = {}
        for i, (name, first) in enumerate(self.first.items()):
            rewirings, crow, col = (state[f"{i}.{entry}"] for entry in ("rewirings", "crow", "col"))
            if not isinstance(rewirings, int) or rewirings < 0:
                raise ValueError(f"expected rewirings of at least 0, found {rewirings}")
            if not isinstance(crow, Tensor) or not isinstance(col, Tensor):
                raise ValueError(f"expected the first wiring of {name!r} as two tensors")
            Pattern.from_csr(crow, col, first.shape)
            parts = np.ones(len(col)), col.cpu().numpy(), crow.cpu().numpy()
            loaded[name] = rewirings, csr_array(parts, first.shape)
        self.rewirings = {name: rewirings for name, (rewirings, _) in loaded.items()}
        self.first = {name: first for name, (_, first) in loaded.items()}

    def _layer(self, name: str, weight: csr_array | SparseWeight) -> LayerLike:
        return RecurrentLayer(weight) if name in self._recurrent else weight
