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
    Dynamic,
    GradualPruning,
    GraNet,
    PeriodicDeepR,
    RigL,
    Static,
)


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

    @property
    def constant(self) -> dict[str, float | int]:
        """The arguments of a method that replaces the same share at every rewiring."""
        return {"fraction": self.fraction, "every": self.every, "seed": self.seed}

    @property
    def falling(self) -> dict[str, float | int]:
        """The arguments of a method whose share falls along training."""
        return self.constant | {"steps": self.steps}

    @property
    def densities(self) -> dict[str, float]:
        """The arguments of a method that prunes."""
        return {"start": self.density, "density": self.final_density}


@dataclass(frozen=True)
class NamedRule:
    """A method as the command line offers it.

    Attributes:
        summary: what it does, in a few words.
        make: makes it for a model and its optimizer.
    """

    summary: str
    make: Callable[[nn.Module, Optimizer, RuleOptions], Dynamic]


#: By their names on the command line.
RULES = {
    "set": NamedRule(
        "sparse evolutionary training, random growth",
        lambda model, optimizer, options: SET(model, optimizer, **options.constant),
    ),
    "rigl": NamedRule(
        "growth where the gradient is largest",
        lambda model, optimizer, options: RigL(model, optimizer, **options.falling),
    ),
    "gse": NamedRule(
        "the same among random candidates",
        lambda model, optimizer, options: GSE(model, optimizer, **options.falling),
    ),
    "snfs": NamedRule(
        "growth and redistribution by momentum",
        lambda model, optimizer, options: SNFS(
            model, optimizer, window=min(10, options.every), **options.falling
        ),
    ),
    "dsr": NamedRule(
        "one threshold for all weights",
        lambda model, optimizer, options: DSR(model, optimizer, **options.constant),
    ),
    "itop": NamedRule(
        "growth where no link has been",
        lambda model, optimizer, options: ITOP(model, optimizer, **options.falling),
    ),
    "mest": NamedRule(
        "small links of small gradient go",
        lambda model, optimizer, options: MEST(model, optimizer, **options.falling),
    ),
    "cht": NamedRule(
        "growth by link prediction",
        lambda model, optimizer, options: CHT(model, optimizer, **options.constant),
    ),
    "chts": NamedRule(
        "the same, drawn at random",
        lambda model, optimizer, options: CHTs(model, optimizer, **options.falling),
    ),
    "deep-r": NamedRule(
        "links that change their sign go, whatever --fraction",
        lambda model, optimizer, options: PeriodicDeepR(
            model, optimizer, every=options.every, seed=options.seed
        ),
    ),
    "granet": NamedRule(
        "rigl while the density falls to --final-density",
        lambda model, optimizer, options: GraNet(
            model, optimizer, **options.falling, **options.densities
        ),
    ),
    "pruning": NamedRule(
        "the density falls to --final-density in the first half, nothing grows",
        lambda model, optimizer, options: GradualPruning(
            model,
            optimizer,
            last=max(1, options.steps // 2),
            every=options.every,
            **options.densities,
        ),
    ),
    "static": NamedRule(
        "the wiring stays",
        lambda model, optimizer, options: Static(model, optimizer),
    ),
}
