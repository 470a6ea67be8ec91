"""Declaration of a method: its arguments, and the rules and numbers that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, Concatenate, ParamSpec

from torch import nn
from torch.optim import Optimizer

from sparse_engine.topology.grow import Grow
from sparse_engine.topology.prune import Prune
from sparse_engine.topology.redistribute import Redistribution
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions
from sparse_engine.topology.schedule import Schedule

P = ParamSpec("P")


class Rules(RewiringOptions, total=False):
    """Keyword arguments of :class:`Rewiring`."""

    prune: Prune
    grow: Grow
    fraction: Schedule | float
    density: Schedule | None
    redistribution: Redistribution
    every: int


def declared(
    rules: Callable[P, Rules],
) -> Callable[Concatenate[Any, nn.Module, Optimizer | None, P], None]:
    """Return the constructor of a method whose further arguments are those of ``rules``."""

    def __init__(
        self: Any,
        model: nn.Module,
        optimizer: Optimizer | None,
        *positional: P.args,
        **arguments: P.kwargs,
    ) -> None:
        Rewiring.__init__(self, model, optimizer, **rules(*positional, **arguments))

    given = [each for each in signature(__init__).parameters.values()][:3]
    shown = signature(__init__).replace(parameters=[*given, *signature(rules).parameters.values()])
    __init__.__signature__ = shown  # type: ignore[attr-defined]
    return __init__
