"""Sparse evolutionary training that also removes the links of unimportant neurons."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack, override

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology.methods.set import SET
from sparse_engine.topology.prune import NeuronImportance
from sparse_engine.topology.prune.base import ordered
from sparse_engine.topology.rewiring import RewiringOptions, chosen_links, give_links


class ImportanceSET(SET):
    """SET with importance pruning (Curci et al. 2021, "Truly sparse neural networks at scale").

    Before some rewirings, the hidden neurons of least importance lose all links into them, and no
    others grow instead, so the number of links falls. The importance of a neuron is the sum of
    ``|w|`` of these links; see :class:`NeuronImportance`. A later rewiring may grow a link into
    such a neuron again. The weight that is the model's last linear layer has outputs as its rows,
    and is spared.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        fraction: fraction of the links of each sign that a rewiring replaces, in [0, 1].
        every: steps between rewirings (the paper: one epoch).
        share: fraction of each weight's neurons with links that lose them, in [0, 1].
        prune_every: rewirings from one pruning to the next, at least 1.
        prune_after: rewirings before which nothing is pruned, at least 0.
        **options: seed, new_links, observers and keep_returning of :class:`Rewiring`. Observers
            also see each pruning.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        fraction: float = 0.3,
        every: int = 100,
        share: float = 0.2,
        prune_every: int = 10,
        prune_after: int = 200,
        **options: Unpack[RewiringOptions],
    ) -> None:
        if prune_every < 1 or prune_after < 0:
            raise ValueError(
                "expected prune_every of at least 1 and prune_after of at least 0, found "
                f"{prune_every} and {prune_after}"
            )
        self.importance = NeuronImportance(share)
        self.prune_every = prune_every
        self.prune_after = prune_after
        super().__init__(model, optimizer, fraction=fraction, every=every, **options)

    @override
    def rewire(self) -> None:
        since = self.steps // self.every - self.prune_after
        if since > 0 and since % self.prune_every == 0:
            self.remove_neurons()
        super().rewire()

    def remove_neurons(self) -> None:
        """Remove the links into the hidden neurons of least importance now.

        Raises:
            ValueError: a value is NaN, or the links of a weight cannot be replaced. The model then
                stays as it was.
        """
        moving = self._moving()
        for _, weight in moving:
            ordered(weight.values.detach())
        layers = [
            each for each in self.model.modules() if isinstance(each, SparseWeight | nn.Linear)
        ]
        for i, weight in moving:
            if weight is layers[-1]:
                continue
            key = RandomKey(self.seed, self.steps, i)
            dropped = self.importance.drop(weight, 0.0, key)
            rewired = chosen_links(weight, dropped, 0, self.grow, key, self.keep_returning)
            give_links(weight, self.optimizer, rewired, self.new_links, key)
            for observer in self.observers:
                observer(self.names[i], weight, rewired)
