"""Callback for the Trainer of Lightning."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from sparse_engine.callbacks import optimizer_hook
from sparse_engine.callbacks.optimizer_hook import RewiringFactory
from sparse_engine.extras import extra

with extra("lightning"):
    import lightning.pytorch as pl


class Rewire(optimizer_hook.Callback, pl.Callback):
    """Rewiring of a LightningModule, one step for each step of its optimizer.

    Lightning's checkpoints have the rewiring's state in that of the optimizer, so that
    ``trainer.fit(module, ckpt_path=...)`` continues as if training had never stopped. The numbers
    of :meth:`OptimizerHook.figures` go to every logger of the trainer after each rewiring.

    Args:
        method: function of model and optimizer that makes the rewiring, such as
            ``partial(SET, fraction=0.3, every=100)``. The model is the LightningModule.
        optimizer: number of the optimizer among those of ``configure_optimizers``.

    Example:
        >>> trainer = Trainer(callbacks=[Rewire(partial(SET, fraction=0.3, every=100))])
    """

    def __init__(self, method: RewiringFactory, optimizer: int = 0) -> None:
        super().__init__(method)
        self.optimizer = optimizer
        self._asked = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the rewiring.

        Raises:
            ValueError: no optimizer of this number, or what :class:`OptimizerHook` raises.
        """
        if not 0 <= self.optimizer < len(trainer.optimizers):
            raise ValueError(
                f"expected the number of one of {len(trainer.optimizers)} optimizers, "
                f"found {self.optimizer}"
            )
        self.follow(pl_module, trainer.optimizers[self.optimizer])

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Remember that the trainer asks for a step, which it does not while it accumulates."""
        self._asked |= optimizer is self._following().optimizer

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Drop the gradients of a step that was skipped, and log a rewiring."""
        follower = self._following()
        if self._asked:
            follower.end_step()
        self._asked = False
        if follower.rewired:
            figures = follower.figures()
            for logger in trainer.loggers:
                logger.log_metrics(figures, step=trainer.global_step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the rewiring."""
        self.leave()
