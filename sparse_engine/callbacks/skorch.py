"""Callback for the networks of skorch."""

from __future__ import annotations

from typing import Any

from sparse_engine.callbacks import optimizer_hook
from sparse_engine.callbacks.optimizer_hook import RewiringFactory
from sparse_engine.extras import extra

with extra("skorch"):
    from skorch import NeuralNet
    from skorch import callbacks as skorch_callbacks


class Rewire(optimizer_hook.Callback, skorch_callbacks.Callback):
    """Rewiring of ``net.module_``, one step for each step of ``net.optimizer_``.

    The optimizer's saved parameters have the rewiring's state: a net that loads them, is pickled,
    or continues by ``partial_fit`` rewires as if it had never stopped. ``net.history`` gets
    ``nnz``, ``density`` and ``turnover`` of every epoch, see :meth:`OptimizerHook.figures`.

    Args:
        method: function of model and optimizer that makes the rewiring, such as
            ``partial(SET, fraction=0.3, every=100)``.

    Example:
        >>> net = NeuralNetClassifier(
        ...     Network, callbacks=[Rewire(partial(SET, fraction=0.3, every=100))]
        ... )
    """

    def __init__(self, method: RewiringFactory) -> None:
        super().__init__(method)

    def initialize(self) -> Rewire:
        """Forget the rewiring of a net that is initialized again."""
        self.follower_ = self.saved_ = None
        return self

    def on_train_begin(self, net: NeuralNet, *_: Any, **others: Any) -> None:
        """Make the rewiring."""
        self.follow(net.module_, net.optimizer_)

    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool = False, **others: Any
    ) -> None:
        """Drop the gradients of a step that skorch's AccelerateMixin skipped."""
        if training and getattr(net.optimizer_, "step_was_skipped", False):
            self._following().end_step()

    def on_epoch_end(self, net: NeuralNet, *_: Any, **others: Any) -> None:
        """Add the numbers of the epoch to the net's history."""
        for name, number in self._following().figures().items():
            net.history.record(name.removeprefix("rewiring/"), number)

    def on_train_end(self, net: NeuralNet, *_: Any, **others: Any) -> None:
        """End the rewiring."""
        self.leave()
