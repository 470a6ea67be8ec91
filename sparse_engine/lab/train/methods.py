"""The rewiring methods that a run can be started with, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro
from torch import nn
from torch.optim import Optimizer

from sparse_engine import topology
from sparse_engine.lab.train.optimization import Options
from sparse_engine.topology import Rewiring


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
    "set": MethodEntry(topology.SET, _CONSTANT),
    "importance-set": MethodEntry(topology.ImportanceSET, _CONSTANT),
    "rigl": MethodEntry(topology.RigL, _FALLING),
    "gse": MethodEntry(topology.GSE, _FALLING),
    "snfs": MethodEntry(topology.SNFS, (*_FALLING, "window")),
    "dsr": MethodEntry(topology.DSR, _CONSTANT),
    "itop": MethodEntry(topology.ITOP, _FALLING),
    "mest": MethodEntry(topology.MEST, _FALLING),
    "cht": MethodEntry(topology.CHT, _CONSTANT),
    "chts": MethodEntry(topology.CHTs, _FALLING),
    "chtss": MethodEntry(topology.CHTss, _SPARSIFYING),
    "selfish": MethodEntry(topology.Selfish, _FALLING),
    "deep-r": MethodEntry(topology.PeriodicDeepR, ("every", "seed")),
    "deep-r-langevin": MethodEntry(topology.DeepR, ("seed",)),
    "granet": MethodEntry(topology.GraNet, _SPARSIFYING),
    "pruning": MethodEntry(topology.GradualPruning, ("start", "density", "last", "every")),
    "narang": MethodEntry(topology.NarangPruning, ("density", "ramp", "every")),
    "static": MethodEntry(topology.Static, ()),
}

SUMMARIES = "; ".join(f"{name}: {method.summary}" for name, method in METHODS.items())
METHOD_HELP = f"How the wiring changes. {SUMMARIES}."


@dataclass(frozen=True)
class Method:
    """Rewiring method of a run."""

    name: Annotated[  # type: ignore[valid-type]
        Literal[tuple(METHODS)], tyro.conf.arg(name="method", metavar="NAME", help=METHOD_HELP)
    ] = "set"
    fraction: float = 0.2
    """Fraction of the links that each rewiring replaces, in [0, 1]; with many methods it falls."""
    every: int = 60
    """Steps from one rewiring to the next, fewer than the steps of the run; the last step does not
    rewire."""
    final_density: float = 0.05
    """Density at the end with the methods granet, chtss, pruning and narang, in (0, 1]."""
    method_options: Options = field(default_factory=dict)
    """Further arguments of the method's class, such as l1 and noise of deep-r."""

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise ValueError(f"expected a method of {sorted(METHODS)}, found {self.name!r}")

    def make(
        self, model: nn.Module, optimizer: Optimizer, *, steps: int, density: float, seed: int
    ) -> Rewiring:
        """Make the method for a model and its optimizer.

        Args:
            model: the model to rewire.
            optimizer: the optimizer of its parameters.
            steps: number of steps of the whole training.
            density: density of the sparse weights at the start.
            seed: seed of the random numbers.
        """
        entry = METHODS[self.name]
        arguments: dict[str, Any] = {
            "fraction": self.fraction,
            "every": self.every,
            "steps": steps,
            "seed": seed,
            "window": min(10, self.every),
            "start": density,
            "density": self.final_density,
            "last": max(1, steps // 2),
        }
        if entry.prunes and "fraction" not in entry.takes and self.final_density >= density:
            raise ValueError(
                f"expected a density above final_density, to which the method {self.name} reduces "
                f"it, found {density} and {self.final_density}"
            )
        if "ramp" in entry.takes:
            epochs = max(1, steps // self.every)
            arguments["ramp"] = topology.NarangRamp.of_epochs(epochs, steps_per_epoch=self.every)
        taken = {name: arguments[name] for name in entry.takes}
        try:
            return entry.kind(model, optimizer, **taken | dict(self.method_options))
        except TypeError as error:
            raise ValueError(f"expected arguments of {self.name}, found: {error}") from error
