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
class RuleOptions:
    """What methods have in common: each takes what it knows, the rest is as in its paper.

    Attributes:
        fraction: the share of links that a rewiring replaces, at the start where it falls.
        every: steps between rewirings.
        steps: of the whole training.
        density: of the sparse weights at the start.
        final_density: at the end, for methods that prune.
        seed: of the random numbers.
    """

    fraction: float
    every: int
    steps: int
    density: float
    final_density: float
    seed: int

    def constant(self) -> Arguments:
        """Of a method that replaces the same share at every rewiring."""
        return {"fraction": self.fraction, "every": self.every, "seed": self.seed}

    def falling(self) -> Arguments:
        """Of a method whose share falls along training."""
        return self.constant() | {"steps": self.steps}

    def densities(self) -> Arguments:
        """What a method that prunes takes beside others."""
        return {"start": self.density, "density": self.final_density}


@dataclass(frozen=True)
class NamedRule:
    """A method as the command line offers it.

    Attributes:
        summary: what it does, in a few words.
        method: its class.
        arguments: what it takes of the options.
    """

    summary: str
    method: Callable[..., Rewiring]
    arguments: Callable[[RuleOptions], Arguments]

    def make(self, model: nn.Module, optimizer: Optimizer, options: RuleOptions) -> Rewiring:
        """Makes it for a model and its optimizer."""
        return self.method(model, optimizer, **self.arguments(options))


def _snfs(options: RuleOptions) -> Arguments:
    return options.falling() | {"window": min(10, options.every)}


def _deep_r(options: RuleOptions) -> Arguments:
    return {"every": options.every, "seed": options.seed}


def _granet(options: RuleOptions) -> Arguments:
    return options.falling() | options.densities()


def _pruning(options: RuleOptions) -> Arguments:
    if options.final_density >= options.density:
        raise ValueError(
            "expected a density above final_density, to which the rule pruning lets it fall, found "
            f"{options.density} and {options.final_density}"
        )
    return options.densities() | {"last": max(1, options.steps // 2), "every": options.every}


#: By their names on the command line.
RULES = {
    "set": NamedRule("sparse evolutionary training, random growth", SET, RuleOptions.constant),
    "rigl": NamedRule("growth where the gradient is largest", RigL, RuleOptions.falling),
    "gse": NamedRule("the same among random candidates", GSE, RuleOptions.falling),
    "snfs": NamedRule("growth and redistribution by momentum", SNFS, _snfs),
    "dsr": NamedRule("one threshold for all weights", DSR, RuleOptions.constant),
    "itop": NamedRule("growth where no link has been", ITOP, RuleOptions.falling),
    "mest": NamedRule("small links of small gradient go", MEST, RuleOptions.falling),
    "cht": NamedRule("growth by link prediction", CHT, RuleOptions.constant),
    "chts": NamedRule("the same, drawn at random", CHTs, RuleOptions.falling),
    "deep-r": NamedRule(
        "links that change their sign go, whatever --fraction", PeriodicDeepR, _deep_r
    ),
    "granet": NamedRule("rigl while the density falls to --final-density", GraNet, _granet),
    "pruning": NamedRule(
        "the density falls to --final-density in the first half, nothing grows",
        GradualPruning,
        _pruning,
    ),
    "static": NamedRule("the wiring stays", Static, lambda options: {}),
}
