"""Published training methods, one call each.

The arguments of all methods are those of :class:`Rewiring`: the model, the optimizer, ``every``,
``fraction``, which is that of the first rewirings where it falls along training, and the options
seed, new_links, observers and keep_returning. Where a method depends on the time, ``steps`` is the
number of steps of the whole training. An argument out of range is a ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn
from torch.optim import Optimizer

from sparse_engine.topology.grow import Grow, NewLinkInit, ZeroInit
from sparse_engine.topology.prune import Prune
from sparse_engine.topology.redistribute import Redistribution
from sparse_engine.topology.rewiring import Observer, Rewiring
from sparse_engine.topology.schedule import Schedule


@dataclass(eq=False, repr=False, kw_only=True)
class Method(Rewiring):
    """Arguments of all methods. The fields of a method are its own ones, and the defaults.

    ``__post_init__`` of a method hands its rules to :meth:`_start`.
    """

    model: nn.Module = field(kw_only=False)
    optimizer: Optimizer | None = field(kw_only=False)
    every: int = 100
    seed: int = 0
    new_links: NewLinkInit = field(default_factory=ZeroInit)
    observers: list[Observer] = field(default_factory=list)
    keep_returning: bool = False

    def _start(
        self,
        prune: Prune,
        grow: Grow,
        *,
        fraction: Schedule | float = 0.3,
        density: Schedule | None = None,
        redistribution: Redistribution | None = None,
    ) -> None:
        Rewiring.__init__(
            self,
            self.model,
            self.optimizer,
            prune=prune,
            grow=grow,
            new_links=self.new_links,
            fraction=fraction,
            density=density,
            redistribution=redistribution,
            every=self.every,
            seed=self.seed,
            observers=self.observers,
            keep_returning=self.keep_returning,
        )
