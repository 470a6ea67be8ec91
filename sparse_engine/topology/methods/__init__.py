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
        summary: description in a few words.
        takes: names of the arguments, beside model and optimizer, that a run sets; among them
            ``steps`` where the replaced fraction or a rule changes along training, and ``density``,
            which the model has at the end, where the method prunes.
    """

    kind: type[Rewiring]
    summary: str
    takes: tuple[str, ...]

    @property
    def prunes(self) -> bool:
        """Whether the density falls along training."""
        return "density" in self.takes


_CONSTANT = ("fraction", "every", "seed")
_FALLING = (*_CONSTANT, "steps")
_SPARSIFYING = (*_FALLING, "start", "density")

#: Methods by their names on the command line.
METHODS = {
    "set": MethodEntry(SET, "sparse evolutionary training, random growth", _CONSTANT),
    "importance-set": MethodEntry(
        ImportanceSET, "SET in which weak hidden units lose all links into them", _CONSTANT
    ),
    "rigl": MethodEntry(RigL, "growth where the gradient is largest", _FALLING),
    "gse": MethodEntry(GSE, "RigL restricted to random candidates", _FALLING),
    "snfs": MethodEntry(SNFS, "growth and redistribution by momentum", (*_FALLING, "window")),
    "dsr": MethodEntry(DSR, "one threshold for all weights", _CONSTANT),
    "itop": MethodEntry(ITOP, "growth where no link has been", _FALLING),
    "mest": MethodEntry(MEST, "pruning of small links of small gradient", _FALLING),
    "cht": MethodEntry(CHT, "growth by link prediction", _CONSTANT),
    "chts": MethodEntry(CHTs, "CHT with links drawn at random, by their scores", _FALLING),
    "chtss": MethodEntry(CHTss, "CHTs while the density falls to --final-density", _SPARSIFYING),
    "selfish": MethodEntry(
        Selfish, "pruning over all gates together, equal growth in each", _FALLING
    ),
    "deep-r": MethodEntry(
        PeriodicDeepR,
        "links that change their sign are replaced, whatever --fraction",
        ("every", "seed"),
    ),
    "deep-r-langevin": MethodEntry(
        DeepR, "deep-r after every step, by noise that follows the learning rate", ("seed",)
    ),
    "granet": MethodEntry(GraNet, "RigL while the density falls to --final-density", _SPARSIFYING),
    "pruning": MethodEntry(
        GradualPruning,
        "pruning by magnitude to --final-density in the first half of training",
        ("start", "density", "last", "every"),
    ),
    "narang": MethodEntry(
        NarangPruning,
        "pruning to --final-density by a threshold that rises in two ramps",
        ("density", "ramp", "every"),
    ),
    "static": MethodEntry(Static, "the wiring stays", ()),
}
