"""Callback for the Trainer of Hugging Face's transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from sparse_engine.callbacks import optimizer_hook
from sparse_engine.callbacks.optimizer_hook import RewiringFactory
from sparse_engine.extras import extra

with extra("huggingface"):
    from transformers import TrainerCallback


class Rewire(optimizer_hook.Callback, TrainerCallback):
    """Rewiring of the model of a Trainer, one step for each step of the optimizer.

    The Trainer's checkpoints have the rewiring's state in ``optimizer.pt``, so that
    ``trainer.train(resume_from_checkpoint=...)`` continues as if training had never stopped.

    Args:
        method: function of model and optimizer that makes the rewiring, such as
            ``partial(SET, fraction=0.3, every=100)``.
        log: function that gets the numbers of :meth:`OptimizerHook.figures` after each rewiring,
            such as ``trainer.log``; None for no log. A Trainer's callbacks do not know it.

    Example:
        >>> trainer = Trainer(model, arguments, train_dataset=data)
        >>> trainer.add_callback(Rewire(partial(SET, fraction=0.3, every=100), trainer.log))
    """

    def __init__(
        self, method: RewiringFactory, log: Callable[[dict[str, float]], object] | None = None
    ) -> None:
        super().__init__(method)
        self.log = log

    def on_train_begin(
        self, *_: object, model: nn.Module, optimizer: Optimizer, **others: Any
    ) -> None:
        """Make the rewiring; model and optimizer have their saved states by now."""
        self.follow(model, optimizer)

    def on_optimizer_step(self, *_: object, **others: Any) -> None:
        """Drop the gradients of a step that was skipped, and log a rewiring."""
        follower = self._following()
        follower.end_step()
        if follower.rewired and self.log is not None:
            self.log(follower.figures())

    def on_train_end(self, *_: object, **others: Any) -> None:
        """End the rewiring."""
        self.leave()
