"""The rewiring methods that a run can be started with, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from sparse_engine.topology import (
    CHT,
    DSR,
    GSE,
    ITOP,
    MEST,
    SET,
    SNFS,
    CHTs,
    GradualPruning,
    GraNet,
    PeriodicDeepR,
    Rewiring,
    RigL,
    Static,
)

#: Keyword arguments of a method.
Arguments = dict[str, float | int]


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


def _granet(options: MethodOptions) -> Arguments:
    return options.falling() | options.densities()


def _pruning(options: MethodOptions) -> Arguments:
    if options.final_density >= options.density:
        raise ValueError(
            "expected a density above final_density, to which the method pruning reduces it, found "
            f"{options.density} and {options.final_density}"
        )
    return options.densities() | {"last": max(1, options.steps // 2), "every": options.every}


#: Methods by their names on the command line.
METHODS = {
    "set": NamedMethod("sparse evolutionary training, random growth", SET, MethodOptions.constant),
    "rigl": NamedMethod("growth where the gradient is largest", RigL, MethodOptions.falling),
    "gse": NamedMethod("the same among random candidates", GSE, MethodOptions.falling),
    "snfs": NamedMethod("growth and redistribution by momentum", SNFS, _snfs),
    "dsr": NamedMethod("one threshold for all weights", DSR, MethodOptions.constant),
    "itop": NamedMethod("growth where no link has been", ITOP, MethodOptions.falling),
    "mest": NamedMethod("pruning of small links of small gradient", MEST, MethodOptions.falling),
    "cht": NamedMethod("growth by link prediction", CHT, MethodOptions.constant),
    "chts": NamedMethod("the same, drawn at random", CHTs, MethodOptions.falling),
    "deep-r": NamedMethod(
        "links that change their sign are replaced, whatever --fraction", PeriodicDeepR, _deep_r
    ),
    "granet": NamedMethod("rigl while the density falls to --final-density", GraNet, _granet),
    "pruning": NamedMethod(
        "the density falls to --final-density in the first half, nothing grows",
        GradualPruning,
        _pruning,
    ),
    "static": NamedMethod("the wiring stays", Static, lambda options: {}),
}
