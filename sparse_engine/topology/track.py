"""Tracking: how the wiring of a model changes along training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Rewired
from sparse_engine.topology.dynamic import Dynamic
from sparse_engine.topology.fingerprint import topology_hash
from sparse_engine.topology.gates import gate_blocks
from sparse_engine.topology.history import History
from sparse_engine.topology.measure import Measure, Record
from sparse_engine.topology.rule import Rule, State


class Tracker(Rule):
    """Describes every rewiring of every weight in a record, and hands it to sinks.

    Works only when a weight is rewired, in O(links) beside what measures take; keeps 8 bytes for
    every cell ever used and 1 for every link. Its memory is part of the rewiring's ``state_dict``,
    so that a resumed run goes on as if it had never stopped.

    A record has these entries:

    - ``step``: of the rewiring's clock; ``weight``: its name in the model; ``rewirings``: of this
      weight since tracking began.
    - ``nnz``, ``density``: after the rewiring.
    - ``gate_density``: of each gate, a list; only where ``weight.blocks`` are more than one.
    - ``turnover``: the share of the links now that this rewiring grew. One that grew where another
      was just removed counts, unless the rewiring keeps links that return.
    - ``survival``: the share of the links before the rewiring that it kept; 1 if there were none.
    - ``first_survival``: the share of the links of the first wiring that never left.
    - ``exploration``: the share of the weight's cells that ever held a link.
    - ``hash``: see :func:`topology_hash`.

    Args:
        rewiring: what to observe. The model's wiring now counts as the first.
        sinks: called with each record: ``records.append`` of a list, ``write`` of a
            :class:`sparse_engine.train.MetricsLog` for a file with a line for each, ``write`` of a
            :class:`TensorBoard`, or any function.
        measures: what else records tell, such as :class:`Balance`.

    Example:
        >>> records = []
        >>> tracker = Tracker(rewiring, records.append)
    """

    def __init__(
        self,
        rewiring: Dynamic,
        *sinks: Callable[[Record], object],
        measures: Sequence[Measure] = (),
    ) -> None:
        self.rewiring = rewiring
        self.sinks = list(sinks)
        self.measures = list(measures)
        self.histories = {
            name: History(weight)
            for name, weight in zip(rewiring.names, rewiring.weights, strict=True)
        }
        rewiring.observers.append(self)

    @property
    def exploration(self) -> float:
        """R_s, the share of the cells of all weights that ever held a link (ITOP, Liu 2021)."""
        histories = self.histories.values()
        cells = sum(rows * cols for rows, cols in (each.weight.shape for each in histories))
        return sum(each.ever.numel() for each in histories) / max(1, cells)

    def __call__(self, name: str, weight: SparseWeight, rewired: Rewired) -> None:
        """Takes note of one rewiring of one weight."""
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
                record |= measure.of(weight, rewired)
        for sink in self.sinks:
            sink(record)

    def state_dict(self) -> State:
        """See :meth:`Rule.state_dict`."""
        return {
            f"{i}.{entry}": value
            for i, history in enumerate(self.histories.values())
            for entry, value in history.state_dict().items()
        }

    def load_state_dict(self, state: State) -> None:
        """Takes over the memory of a saved run; load the model before.

        Raises:
            ValueError: entries missing, or of another model.
        """
        if state.keys() != self.state_dict().keys():
            raise ValueError(
                f"expected the histories of {len(self.histories)} weights, found {sorted(state)}"
            )
        for i, history in enumerate(self.histories.values()):
            own = {entry: state[f"{i}.{entry}"] for entry in history.state_dict()}
            history.load_state_dict(own)
