"""Rewiring along training: the clock that turns two rules into a training method."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology.birth import Birth, Zero
from sparse_engine.topology.grow import Grow
from sparse_engine.topology.prune import Prune
from sparse_engine.topology.rewiring import rewire_weight


class Dynamic:
    """Rewires every sparse weight of a model at a fixed interval.

    Call :meth:`step` after each ``optimizer.step()``. The number of links never changes. All
    randomness follows from the seed, the number of steps taken and a weight's place in the model,
    so that a run which is saved and resumed rewires as if it had never stopped.

    Args:
        model: every :class:`SparseWeight` in it that takes gradients is rewired.
        optimizer: any of torch's; its state for a link moves with the link. None for no optimizer.
        prune: which links go.
        grow: where new ones come.
        birth: what new ones start with.
        fraction: the share of links that each rewiring removes, in [0, 1].
        every: steps between rewirings, at least 1.
        seed: of the random numbers, any 63-bit integer.

    Raises:
        ValueError: an argument out of range, or a model without sparse weights.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        prune: Prune,
        grow: Grow,
        birth: Birth | None = None,
        fraction: float = 0.3,
        every: int = 100,
        seed: int = 0,
    ) -> None:
        if not 0 <= fraction <= 1:
            raise ValueError(f"expected fraction in [0, 1], found {fraction}")
        if every < 1:
            raise ValueError(f"expected every of at least 1 step, found {every}")
        self.weights = [module for module in model.modules() if isinstance(module, SparseWeight)]
        if not self.weights:
            raise ValueError("expected a model with sparse weights, found none in it")
        self.optimizer = optimizer
        self.prune = prune
        self.grow = grow
        self.birth = Zero() if birth is None else birth
        self.fraction = fraction
        self.every = every
        self.seed = seed
        self.steps = 0

    def step(self) -> bool:
        """Counts one training step, and rewires when it is time; returns whether it did."""
        self.steps += 1
        if self.steps % self.every:
            return False
        self.rewire()
        return True

    def rewire(self) -> None:
        """Rewires every weight now."""
        for stream, weight in enumerate(self.weights):
            if weight.values.requires_grad:
                rewire_weight(
                    weight,
                    self.optimizer,
                    prune=self.prune,
                    grow=self.grow,
                    birth=self.birth,
                    fraction=self.fraction,
                    key=RandomKey(self.seed, self.steps, stream),
                )

    def state_dict(self) -> dict[str, int]:
        """What resuming needs beside the model and the optimizer; plain numbers."""
        return {"steps": self.steps, "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Takes over the clock and the seed of a saved run.

        Raises:
            ValueError: entries missing or negative.
        """
        if set(state) != {"steps", "seed"} or state["steps"] < 0:
            raise ValueError(f"expected entries steps >= 0 and seed, found {state}")
        self.steps, self.seed = int(state["steps"]), int(state["seed"])
