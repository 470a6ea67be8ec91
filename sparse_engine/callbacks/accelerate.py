"""Rewiring in a training loop of one's own with Hugging Face's Accelerate."""

from __future__ import annotations

from torch import nn

from sparse_engine.callbacks.optimizer_hook import OptimizerHook, RewiringFactory
from sparse_engine.extras import extra

with extra("accelerate"):
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer


class Rewire:
    """Rewiring of a prepared model, one step for each step of its prepared optimizer.

    ``accelerator.save_state`` and ``load_state`` save and load the rewiring's state within that of
    the optimizer, so that a loop that resumes continues as if it had never stopped.

    Args:
        method: function of model and optimizer that makes the rewiring, such as
            ``partial(SET, fraction=0.3, every=100)``. The model is the unwrapped one.
        model: the model that ``accelerator.prepare`` returned.
        optimizer: the optimizer that ``accelerator.prepare`` returned.
        accelerator: the Accelerator, whose trackers get the numbers of
            :meth:`OptimizerHook.figures`.

    Raises:
        ValueError: an optimizer that is not prepared, or what :class:`OptimizerHook` raises.

    Example:
        >>> model, optimizer, batches = accelerator.prepare(model, optimizer, batches)
        >>> rewire = Rewire(partial(SET, every=100), model, optimizer, accelerator)
        >>> for x, y in batches:
        ...     with accelerator.accumulate(model):
        ...         accelerator.backward(loss(model(x), y))
        ...         optimizer.step()
        ...         rewire.step()
        ...         optimizer.zero_grad()
    """

    def __init__(
        self,
        method: RewiringFactory,
        model: nn.Module,
        optimizer: AcceleratedOptimizer,
        accelerator: Accelerator,
    ) -> None:
        if not isinstance(optimizer, AcceleratedOptimizer):
            raise ValueError(
                "expected an optimizer that accelerator.prepare returned, found "
                f"{type(optimizer).__name__}"
            )
        self.accelerator = accelerator
        self.follower = OptimizerHook(method, accelerator.unwrap_model(model), optimizer)

    def step(self) -> bool:
        """End a training step, and return whether links have changed in it.

        Call this after ``optimizer.step()``, also where the Accelerator only accumulates gradients.
        After a step that was skipped for an overflow, this drops the gradients for grow rules.
        """
        if not self.accelerator.sync_gradients:
            return False
        self.follower.end_step()
        rewired = self.follower.rewired
        if rewired:
            self.accelerator.log(self.follower.figures(), step=self.follower.rewiring.steps_taken)
        return rewired
