"""Tracking of the wiring of a model along training."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.extras import extra
from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Rewired, carry
from sparse_engine.topology.links import gate_blocks, links_hash, union
from sparse_engine.topology.rewiring import Rewiring
from sparse_engine.topology.rule import Rule, State


def topology_hash(weight: SparseWeight) -> str:
    """Return a hash of a weight's links: equal hashes mean equal links, and vice versa.

    The hash is BLAKE2b of 16 bytes over the shape and ``crow_indices`` as little-endian int64, then
    ``col_indices`` as little-endian int32. Values do not enter.

    Returns:
        32 hexadecimal digits.
    """
    return links_hash(weight.pattern.links)


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
    """

    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"expected every of at least 1 rewiring, found {self.every}")

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
            :class:`sparse_engine.lab.train.MetricsLog` for a file with a line for each, ``write``
            of a :class:`TensorBoard`, or any other.
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
        positions = sum(rows * cols for rows, cols in (each.weight.shape for each in histories))
        return sum(each.ever.numel() for each in histories) / max(1, positions)

    def __call__(self, name: str, weight: SparseWeight, rewired: Rewired) -> None:
        """Record one rewiring of one weight."""
        history = self.histories[name]
        history.follow(rewired)
        before, grown = rewired.slot_map.numel(), rewired.born.numel()
        record: Record = {
            "step": self.rewiring.steps,
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

    def load_state_dict(self, state: State) -> None:
        """Load the memory of a saved run; load the model before.

        Raises:
            ValueError: entries missing, or of another model.
        """
        if state.keys() != self.state_dict().keys():
            raise ValueError(
                f"expected the histories of {len(self.histories)} weights, found {sorted(state)}"
            )
        for name, part in self._parts().items():
            part.load_state_dict({entry: state[f"{name}.{entry}"] for entry in part.state_dict()})

    def _parts(self) -> dict[str, LinkHistory | Measure]:
        parts: dict[str, LinkHistory | Measure] = {
            str(i): history for i, history in enumerate(self.histories.values())
        }
        return parts | {f"measure{i}": measure for i, measure in enumerate(self.measures)}


class LinkHistory:
    """History of one weight through its rewirings, in O(links ever used) memory.

    Attributes:
        weight: the weight, whose links now are the first wiring.
        rewirings: number of rewirings.
        founders: the number of links of the first wiring.
        founding: bool ``[nnz]``, true for links of the first wiring that never left.
        ever: int64 on the CPU, positions that ever held a link, ``row * in_features + column``,
            increasing.
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

    def state_dict(self) -> State:
        """Return the counts and tensors, for a checkpoint."""
        return {
            "rewirings": self.rewirings,
            "founders": self.founders,
            "founding": self.founding,
            "ever": self.ever,
        }

    def load_state_dict(self, state: State) -> None:
        """Load the history of a saved run, whose links the weight must have already.

        Raises:
            ValueError: entries missing, or not of this weight.
        """
        own = self.state_dict()
        if state.keys() != own.keys():
            raise ValueError(f"expected the entries {sorted(own)}, found {sorted(state)}")
        rewirings, founders, founding, ever = (state[name] for name in own)
        if not all(isinstance(count, int) and count >= 0 for count in (rewirings, founders)):
            raise ValueError(f"expected counts of at least 0, found {rewirings} and {founders}")
        _check("founding", founding, torch.bool)
        _check("ever", ever, torch.int64)
        if founding.shape != (self.weight.nnz,) or int(founding.sum()) > founders:
            raise ValueError(
                f"expected {self.weight.nnz} entries of founding, at most {founders} of them "
                f"true, found {founding.numel()} with {int(founding.sum())}"
            )
        positions = math.prod(self.weight.shape)
        bounded = torch.nn.functional.pad(ever, (1, 0), value=-1)
        if not (bounded.diff() > 0).all() or bounded[-1] >= positions:
            raise ValueError(f"expected ever to be increasing positions in [0, {positions})")
        self.rewirings, self.founders = rewirings, founders
        self.founding, self.ever = founding.to(self.weight.values.device), ever.cpu()


def _check(name: str, entry: object, dtype: torch.dtype) -> None:
    if not isinstance(entry, Tensor) or entry.dtype != dtype or entry.dim() != 1:
        raise ValueError(f"expected {name} as a {dtype} tensor of one dimension, found {entry!r}")


class TensorBoard:
    """Sink that writes the numbers of a :class:`Tracker`'s records for TensorBoard.

    A curve is called ``quantity/weight``, such as ``density/recurrent.weight_hh_l0``, and for
    ``gate_density`` ``quantity/weight/gate``. Entries of metrics.jsonl may be written, too: a curve
    is then called ``loss``, or ``validation/accuracy`` for a metric of a split.

    Args:
        folder: the folder of the event file, for TensorBoard's ``--logdir``.

    Raises:
        ImportError: the package tensorboard is not installed.

    Example:
        >>> tracker = Tracker(rewiring, TensorBoard("runs/demo").write)
    """

    def __init__(self, folder: Path | str) -> None:
        with extra("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter
        self._writer = SummaryWriter(str(folder))

    def write(self, record: Mapping[str, object]) -> None:
        """Add a point to the curve of every number in a record."""
        for quantity, value in record.items():
            tag = f"{quantity}/{record.get('weight', '')}".rstrip("/")
            if isinstance(value, list):
                value = dict(enumerate(value))
            points = value if isinstance(value, dict) else {"": value}
            for name, number in points.items():
                if isinstance(number, int | float) and quantity != "step":
                    self._writer.add_scalar(f"{tag}/{name}".rstrip("/"), number, record["step"])

    def close(self) -> None:
        """Write the event file to disk and close it."""
        self._writer.close()
