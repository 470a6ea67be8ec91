"""The rewiring methods that a run can be started with, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro
from torch import nn
from torch.optim import Optimizer

from sparse_engine.lab.train.optimization import Options
from sparse_engine.topology import (
    CHT,
    DSR,
    GSE,
    ITOP,
    MEST,
    SET,
    SNFS,
    CHTs,
    CHTss,
    DeepR,
    GradualPruning,
    GraNet,
    ImportanceSET,
    NarangPruning,
    NarangRamp,
    PeriodicDeepR,
    Rewiring,
    RigL,
    Selfish,
    Static,
)

#: Keyword arguments of a method.
Arguments = dict[str, Any]


@dataclass(frozen=True)
class MethodOptions:
    """Options of methods. Each method takes those that it has; its other arguments are defaults.

    Attributes:
        fraction: fraction of links that a rewiring replaces, at the start where it falls.
        every: steps between rewirings.
        steps: number of steps of the whole training.
        density: density of the sparse weights at the start.
        final_density: density at the end, for methods that prune.
        seed: seed of the random numbers.
    """

    fraction: float
    every: int
    steps: int
    density: float
    final_density: float
    seed: int

    def constant(self) -> Arguments:
        """Return the arguments of a method that replaces the same fraction at every rewiring."""
        return {"fraction": self.fraction, "every": self.every, "seed": self.seed}

    def falling(self) -> Arguments:
        """Return the arguments of a method whose fraction falls along training."""
        return self.constant() | {"steps": self.steps}

    def densities(self) -> Arguments:
        """Return the further arguments of a method that prunes."""
        return {"start": self.density, "density": self.final_density}


@dataclass(frozen=True)
class NamedMethod:
    """Method with a name on the command line.

    Attributes:
        summary: description in a few words.
        method: class of the method.
        arguments: function from the options to the method's arguments.
    """

    summary: str
    method: Callable[..., Rewiring]
    arguments: Callable[[MethodOptions], Arguments]

    def make(self, model: nn.Module, optimizer: Optimizer, options: MethodOptions) -> Rewiring:
        """Make the method for a model and its optimizer."""
        return self.method(model, optimizer, **self.arguments(options))


def _snfs(options: MethodOptions) -> Arguments:
    return options.falling() | {"window": min(10, options.every)}


def _deep_r(options: MethodOptions) -> Arguments:
    return {"every": options.every, "seed": options.seed}


def _langevin(options: MethodOptions) -> Arguments:
    return {"seed": options.seed}


def _densifying(options: MethodOptions) -> Arguments:
    return options.falling() | options.densities()


def _pruning(options: MethodOptions) -> Arguments:
    _check_falling("pruning", options)
    return options.densities() | {"last": max(1, options.steps // 2), "every": options.every}


def _narang(options: MethodOptions) -> Arguments:
    _check_falling("narang", options)
    epochs = max(1, options.steps // options.every)
    ramp = NarangRamp.of_epochs(epochs, steps_per_epoch=options.every)
    return {"density": options.final_density, "ramp": ramp, "every": options.every}


def _check_falling(name: str, options: MethodOptions) -> None:
    if options.final_density >= options.density:
        raise ValueError(
            f"expected a density above final_density, to which the method {name} reduces it, found "
            f"{options.density} and {options.final_density}"
        )


#: Methods by their names on the command line.
METHODS = {
    "set": NamedMethod("sparse evolutionary training, random growth", SET, MethodOptions.constant),
    "importance-set": NamedMethod(
        "the same, and weak hidden units lose all links into them",
        ImportanceSET,
        MethodOptions.constant,
    ),
    "rigl": NamedMethod("growth where the gradient is largest", RigL, MethodOptions.falling),
    "gse": NamedMethod("the same among random candidates", GSE, MethodOptions.falling),
    "snfs": NamedMethod("growth and redistribution by momentum", SNFS, _snfs),
    "dsr": NamedMethod("one threshold for all weights", DSR, MethodOptions.constant),
    "itop": NamedMethod("growth where no link has been", ITOP, MethodOptions.falling),
    "mest": NamedMethod("pruning of small links of small gradient", MEST, MethodOptions.falling),
    "cht": NamedMethod("growth by link prediction", CHT, MethodOptions.constant),
    "chts": NamedMethod("the same, drawn at random", CHTs, MethodOptions.falling),
    "chtss": NamedMethod("the same while the density falls to --final-density", CHTss, _densifying),
    "selfish": NamedMethod(
        "pruning over all gates together, the same growth in each", Selfish, MethodOptions.falling
    ),
    "deep-r": NamedMethod(
        "links that change their sign are replaced, whatever --fraction", PeriodicDeepR, _deep_r
    ),
    "deep-r-langevin": NamedMethod(
        "the same after every step, by noise that follows the learning rate", DeepR, _langevin
    ),
    "granet": NamedMethod("rigl while the density falls to --final-density", GraNet, _densifying),
    "pruning": NamedMethod(
        "the density falls to --final-density in the first half, nothing grows",
        GradualPruning,
        _pruning,
    ),
    "narang": NamedMethod(
        "the same by a threshold that rises in two ramps", NarangPruning, _narang
    ),
    "static": NamedMethod("the wiring stays", Static, lambda options: {}),
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

    def check(self) -> None:
        """Raise ValueError for a name that is not in the registry ``METHODS``."""
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

        Raises:
            ValueError: an unknown name, an argument out of range, or one that the method lacks.
        """
        self.check()
        options = MethodOptions(self.fraction, self.every, steps, density, self.final_density, seed)
        named = METHODS[self.name]
        try:
            return named.method(
                model, optimizer, **named.arguments(options) | dict(self.method_options)
            )
        except TypeError as error:
            raise ValueError(f"expected arguments of {self.name}, found: {error}") from error
