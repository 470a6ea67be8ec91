"""Rewiring that follows its optimizer: what the callbacks for all trainers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from sparse_engine.nn import SparseWeight
from sparse_engine.ops.topology import Rewired
from sparse_engine.topology import Rewiring

#: Function that makes the rewiring of a model, such as ``partial(SET, fraction=0.3, every=100)``.
RewiringFactory = Callable[[nn.Module, Optimizer], Rewiring]

#: Name of the rewiring's state in the first parameter group of an optimizer's state dict.
ENTRY = "rewiring"


class OptimizerHook:
    """Rewiring that takes a step whenever its optimizer does, and is saved with the optimizer.

    The rewiring steps at the end of ``optimizer.step()``, so that gradient accumulation and mixed
    precision need no care: there is one rewiring step for each step that the optimizer takes, and
    none where ``torch.amp.GradScaler`` skips one. ``optimizer.state_dict()`` has the rewiring's
    state as the entry "rewiring" of its first parameter group, and ``optimizer.load_state_dict``
    gives it back, whether that is called before or after the follower is made. Load the model
    first.

    Args:
        method: function of model and optimizer that makes the rewiring.
        model: the model, whose sparse weights are rewired.
        optimizer: torch optimizer, or a trainer's wrapper with the attribute ``optimizer``.

    Attributes:
        rewiring: the rewiring.
        optimizer: the torch optimizer.
        rewired: whether links have changed since the last call of :meth:`figures`.

    Raises:
        ValueError: a weight to rewire that the optimizer does not train, or what the method raises.

    Example:
        >>> follower = OptimizerHook(partial(SET, fraction=0.3, every=100), model, optimizer)
        >>> for x, y in batches:
        ...     optimizer.zero_grad()
        ...     loss(model(x), y).backward()
        ...     optimizer.step()
    """

    def __init__(self, method: RewiringFactory, model: nn.Module, optimizer: Optimizer) -> None:
        self.optimizer: Optimizer = getattr(optimizer, "optimizer", optimizer)
        self.rewiring = method(model, self.optimizer)
        _check_trained(self.rewiring, self.optimizer)
        self.rewiring.observers.append(self._observe)
        self._hooks = [
            self.optimizer.register_step_post_hook(self._step),
            self.optimizer.register_state_dict_post_hook(self._save),
            self.optimizer.register_load_state_dict_post_hook(self._load),
        ]
        self.rewired = self._stepped = False
        self._grown = 0
        self._load(self.optimizer)

    def end_step(self) -> None:
        """Drop the captured gradients if the optimizer was asked for a step and took none.

        A trainer calls this after each optimizer step that it has asked for, and not where it only
        accumulates gradients.
        """
        if not self._stepped:
            self.rewiring.skip()
        self._stepped = False

    def figures(self) -> dict[str, float]:
        """Return numbers for a log, of all sparse weights together.

        Returns:
            ``rewiring/nnz``, ``rewiring/density``, and ``rewiring/turnover``, the number of links
            that have grown since the last call, as a fraction of the links now.
        """
        weights = self.rewiring.weights
        nnz = sum(weight.nnz for weight in weights)
        positions = sum(rows * columns for rows, columns in (weight.shape for weight in weights))
        grown, self._grown, self.rewired = self._grown, 0, False
        return {
            "rewiring/nnz": float(nnz),
            "rewiring/density": nnz / max(1, positions),
            "rewiring/turnover": grown / max(1, nnz),
        }

    def detach(self) -> None:
        """End the rewiring, and leave its state in the optimizer.

        The next follower of the optimizer continues from that state, and state dicts keep it.
        """
        for hook in self._hooks:
            hook.remove()
        self.optimizer.param_groups[0][ENTRY] = self.rewiring.state_dict()
        for weight in self.rewiring.weights:
            weight.captured = None

    def _step(self, optimizer: Optimizer, *_: object) -> None:
        # A fused optimizer is called by GradScaler in any case, and itself skips the step.
        if not getattr(optimizer, "found_inf", False):
            self._stepped = True
            self.rewiring.step()

    def _save(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        state["param_groups"][0][ENTRY] = self.rewiring.state_dict()

    def _load(self, optimizer: Optimizer) -> None:
        state = optimizer.param_groups[0].pop(ENTRY, None)
        if state is not None:
            self.rewiring.load_state_dict(state)

    def _observe(self, name: str, weight: SparseWeight, rewired: Rewired) -> None:
        self.rewired = True
        self._grown += rewired.born.numel()


class Callback:
    """Base of the callbacks: a follower while a trainer trains.

    Args:
        method: function of model and optimizer that makes the rewiring.
    """

    # Names with a final underscore are no settings for skorch.
    follower_: OptimizerHook | None = None
    saved_: dict[str, Any] | None = None

    def __init__(self, method: RewiringFactory) -> None:
        self.method = method

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes with the rewiring's state in place of the follower.

        Model and optimizer are left out, because the trainer pickles its own.
        """
        if self.follower_ is None:
            return self.__dict__.copy()
        saved = self.follower_.rewiring.state_dict()
        return self.__dict__ | {"follower_": None, "saved_": saved}

    @property
    def rewiring(self) -> Rewiring:
        """The rewiring while the trainer trains.

        Raises:
            RuntimeError: no training is under way.
        """
        return self._following().rewiring

    def follow(self, model: nn.Module, optimizer: Optimizer) -> None:
        """Begin to rewire a model, from the state that the optimizer has of an earlier rewiring."""
        self.leave()
        self.follower_ = OptimizerHook(self.method, model, optimizer)
        if self.saved_ is not None:
            self.follower_.rewiring.load_state_dict(self.saved_)
        self.saved_ = None

    def leave(self) -> None:
        """End the rewiring, and leave its state in the optimizer."""
        if self.follower_ is not None:
            self.follower_.detach()
        self.follower_ = None

    def _following(self) -> OptimizerHook:
        if self.follower_ is None:
            raise RuntimeError("expected a rewiring under way, found none: the trainer makes one")
        return self.follower_


def _check_trained(rewiring: Rewiring, optimizer: Optimizer) -> None:
    """Raise ValueError for a weight whose optimizer state the rewiring could not carry along."""
    trained = {id(each) for group in optimizer.param_groups for each in group["params"]}
    for name, weight in zip(rewiring.names, rewiring.weights, strict=True):
        moves = weight.values.requires_grad and not weight.frozen_pattern
        if moves and id(weight.values) not in trained:
            raise ValueError(
                f"expected an optimizer of all rewired weights, found none of {name or 'values'}; "
                "give the method a part of the model, or freeze the pattern of the weight"
            )
