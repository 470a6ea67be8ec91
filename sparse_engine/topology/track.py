"""Tracking of the wiring of a model along training."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.nn.options import check_number
from sparse_engine.ops.topology import Rewired, carry
from sparse_engine.topology.links import are_positions, gate_blocks, topology_hash, union
from sparse_engine.topology.rewiring import Rewiring
from sparse_engine.topology.rule import Rule, State

#: Record of one rewiring of one weight, see :class:`Tracker`.
Record = dict[str, object]


@dataclass(frozen=True)
class Measure(Rule, ABC):
    """Further entries of a tracker's records. Your own measure is a subclass with one method.

    A measure with a memory also has ``begin``, ``state_dict`` and ``load_state_dict``.

    Attributes:
        every: rewirings of a weight from one measurement to the next, at least 1.

    Raises:
        ValueError: ``every`` is less than 1.

    Example:
        >>> class Largest(Measure):
        ...     def measure(self, weight, rewired):
        ...         return {"largest": weight.values.abs().max().item()}
    """

    every: int = 1

    def __post_init__(self) -> None:
        check_number("every of at least 1 rewiring", self.every, lambda every: every >= 1)

    def begin(self, rewiring: Rewiring) -> None:
        """Look at the model when tracking begins; by default nothing is remembered."""

    @abstractmethod
    def measure(self, weight: SparseWeight, rewired: Rewired) -> Record:
        """Return the entries with values for JSON; no entries where the weight cannot be measured.

        Args:
            weight: the weight after the rewiring.
            rewired: the change.
        """


class Tracker(Rule):
    """Tracking of every rewiring of every weight, by records that are passed to sinks.

    A tracker works only when a weight is rewired, in O(links) beside the time of measures. It keeps
    8 bytes for every position ever used and 1 byte for every link. This memory is part of the
    rewiring's ``state_dict``, so that a resumed run continues as if it had never stopped.

    A record has these entries:

    - ``step``: time of the rewiring's clock; ``weight``: name of the weight in the model;
      ``rewirings``: number of this weight's rewirings since tracking began.
    - ``nnz``, ``density``: number of links and density after the rewiring.
    - ``gate_density``: list of the density of each gate, where ``weight.blocks`` are more than one.
    - ``turnover``: the fraction of the links now that this rewiring grew. A link that grew where
      another was just removed counts, unless the rewiring keeps links that return.
    - ``survival``: the fraction of the links before the rewiring that stayed; 1 if there were none.
    - ``first_survival``: the fraction of the links of the first wiring that never left.
    - ``exploration``: the fraction of the weight's positions that ever held a link.
    - ``hash``: the result of :func:`topology_hash`.

    Args:
        rewiring: the rewiring to observe. The model's wiring now counts as the first.
        sinks: functions called with each record: ``records.append`` of a list, ``write`` of a
            :class:`sparse_engine.lab.train.MetricsLog` for a file with a line for each, that of a
            :class:`sparse_engine.callbacks.tensorboard.TensorBoard`, or any other.
        measures: measures that add entries to the records, such as
            :class:`sparse_engine.analysis.Balance`.

    Example:
        >>> records = []
        >>> tracker = Tracker(rewiring, records.append)
    """

    def __init__(
        self,
        rewiring: Rewiring,
        *sinks: Callable[[Record], object],
        measures: Sequence[Measure] = (),
    ) -> None:
        self.rewiring = rewiring
        self.sinks = list(sinks)
        self.measures = list(measures)
        self.histories = {
            name: LinkHistory(weight)
            for name, weight in zip(rewiring.names, rewiring.weights, strict=True)
        }
        for measure in self.measures:
            measure.begin(rewiring)
        rewiring.observers.append(self)

    @property
    def exploration(self) -> float:
        """Fraction of all positions that ever held a link, R_s of ITOP (Liu et al. 2021)."""
        histories = self.histories.values()
        positions = sum(math.prod(each.weight.shape) for each in histories)
        return sum(each.ever.numel() for each in histories) / max(1, positions)

    def __call__(self, name: str, weight: SparseWeight, rewired: Rewired) -> None:
        """Record one rewiring of one weight."""
        history = self.histories[name]
        history.follow(rewired)
        before, grown = rewired.slot_map.numel(), rewired.born.numel()
        record: Record = {
            "step": self.rewiring.steps_taken,
            "weight": name,
            "rewirings": history.rewirings,
            "nnz": weight.nnz,
            "density": weight.density,
            "turnover": grown / max(1, weight.nnz),
            "survival": (weight.nnz - grown) / before if before else 1.0,
            "first_survival": history.survival,
            "exploration": history.exploration,
            "hash": topology_hash(weight),
        }
        if len(weight.blocks) > 1:
            record["gate_density"] = [
                block.nnz / max(1, block.nnz + block.absent)
                for block in gate_blocks(weight, rewired.links)
            ]
        for measure in self.measures:
            if history.rewirings % measure.every == 0:
                record |= measure.measure(weight, rewired)
        for sink in self.sinks:
            sink(record)

    @override
    def state_dict(self) -> State:
        return {
            f"{name}.{entry}": value
            for name, part in self._parts().items()
            for entry, value in part.state_dict().items()
        }

    @override
    def load_state_dict(self, state: State) -> None:
        if state.keys() != self.state_dict().keys():
            raise ValueError(
                f"expected the histories of {len(self.histories)} weights, found {sorted(state)}"
            )
        for name, part in self._parts().items():
            part.load_state_dict({entry: state[f"{name}.{entry}"] for entry in part.state_dict()})

    def _parts(self) -> dict[str, Rule]:
        parts: dict[str, Rule] = {str(i): each for i, each in enumerate(self.histories.values())}
        return parts | {f"measure{i}": measure for i, measure in enumerate(self.measures)}


class LinkHistory(Rule):
    """History of one weight through its rewirings, in O(links ever used) memory.

    Attributes:
        founders: the number of links of the first wiring.
        founding: bool ``[nnz]``, true for links of the first wiring that never left.
        ever: positions that ever held a link, increasing, on the CPU.
    """

    def __init__(self, weight: SparseWeight) -> None:
        self.weight = weight
        self.rewirings = 0
        self.founders = weight.nnz
        self.founding = torch.ones_like(weight.col_indices, dtype=torch.bool)
        self.ever = weight.pattern.links.positions().cpu()

    @property
    def survival(self) -> float:
        """Fraction of the links of the first wiring that never left; 1 if it had none."""
        return int(self.founding.sum()) / self.founders if self.founders else 1.0

    @property
    def exploration(self) -> float:
        """Fraction of all positions that ever held a link."""
        return self.ever.numel() / max(1, math.prod(self.weight.shape))

    def follow(self, rewired: Rewired) -> None:
        """Add a rewiring of the weight to the history."""
        self.rewirings += 1
        self.founding = carry(self.founding, rewired.slot_map, rewired.links.nnz)
        self.ever = union(self.ever, rewired.links.positions()[rewired.born.long()].cpu())

    @override
    def state_dict(self) -> State:
        names = ("rewirings", "founders", "founding", "ever")
        return {name: getattr(self, name) for name in names}

    @override
    def load_state_dict(self, state: State) -> None:
        if state.keys() != self.state_dict().keys():
            raise ValueError(f"expected {sorted(self.state_dict())}, found {sorted(state)}")
        rewirings, founders, founding, ever = (state[name] for name in self.state_dict())
        if not all(isinstance(count, int) and count >= 0 for count in (rewirings, founders)):
            raise ValueError(f"expected counts of at least 0, found {rewirings} and {founders}")
        expected = f"expected founding of {self.weight.nnz} bools, at most {founders} of them true"
        if not isinstance(founding, Tensor):
            raise ValueError(f"{expected}, found {type(founding).__name__}")
        known = founding.dtype == torch.bool and founding.shape == (self.weight.nnz,)
        if not known or int(founding.sum()) > founders:
            raise ValueError(
                f"{expected}, found {founding.dtype} of shape {[*founding.shape]}, "
                f"{int(founding.count_nonzero())} of them not 0"
            )
        positions = math.prod(self.weight.shape)
        if not are_positions(ever) or (ever.numel() and not 0 <= ever[0] <= ever[-1] < positions):
            raise ValueError(f"expected ever to be increasing positions in [0, {positions})")
        self.rewirings, self.founders = rewirings, founders
        self.founding, self.ever = founding.to(self.weight.values.device), ever.cpu()
