"""Published training methods, one call each, and the registry with their names.

The arguments of all methods are those of :class:`Rewiring`: the model, the optimizer, ``every``,
``fraction``, which is that of the first rewirings where it falls along training, and the options
seed, new_links, observers and keep_returning. Where a method depends on the time, ``steps`` is the
number of steps of the whole training. An argument out of range is a ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparse_engine.topology.methods.cht import CHT, CHTs, CHTss
from sparse_engine.topology.methods.deep_r import DeepR, PeriodicDeepR
from sparse_engine.topology.methods.gradient_growth import GSE, SNFS, GraNet, RigL
from sparse_engine.topology.methods.no_growth import GradualPruning, NarangPruning, Static
from sparse_engine.topology.methods.random_growth import (
    DSR,
    ITOP,
    MEST,
    SET,
    ImportanceSET,
    Selfish,
)
from sparse_engine.topology.rewiring import Rewiring


@dataclass(frozen=True)
class MethodEntry:
    """Method of the registry, with its facts for a command line.

    Attributes:
        kind: class of the method.
        takes: names of the arguments, beside model and optimizer, that a run sets; among them
            ``steps`` where the replaced fraction or a rule changes along training, and ``density``,
            which the model has at the end, where the method prunes.
    """

    kind: type[Rewiring]
    takes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The first line of the class's description, with the paper."""
        return (self.kind.__doc__ or "").partition("\n")[0].rstrip(".")

    @property
    def prunes(self) -> bool:
        """Whether the density falls along training."""
        return "density" in self.takes


_CONSTANT = ("fraction", "every", "seed")
_FALLING = (*_CONSTANT, "steps")
_SPARSIFYING = (*_FALLING, "start", "density")

#: Methods by their names on the command line.
METHODS = {
    "set": MethodEntry(SET, _CONSTANT),
    "importance-set": MethodEntry(ImportanceSET, _CONSTANT),
    "rigl": MethodEntry(RigL, _FALLING),
    "gse": MethodEntry(GSE, _FALLING),
    "snfs": MethodEntry(SNFS, (*_FALLING, "window")),
    "dsr": MethodEntry(DSR, _CONSTANT),
    "itop": MethodEntry(ITOP, _FALLING),
    "mest": MethodEntry(MEST, _FALLING),
    "cht": MethodEntry(CHT, _CONSTANT),
    "chts": MethodEntry(CHTs, _FALLING),
    "chtss": MethodEntry(CHTss, _SPARSIFYING),
    "selfish": MethodEntry(Selfish, _FALLING),
    "deep-r": MethodEntry(PeriodicDeepR, ("every", "seed")),
    "deep-r-langevin": MethodEntry(DeepR, ("seed",)),
    "granet": MethodEntry(GraNet, _SPARSIFYING),
    "pruning": MethodEntry(GradualPruning, ("start", "density", "last", "every")),
    "narang": MethodEntry(NarangPruning, ("density", "ramp", "every")),
    "static": MethodEntry(Static, ()),
}
