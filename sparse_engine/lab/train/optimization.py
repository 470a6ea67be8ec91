"""Optimizer, learning rate and clipping of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler

from sparse_engine.optim import SNTASGD

#: Value of an option of an optimizer, scheduler, method or cell.
Value = int | float | bool
#: Options by name, as on the command line: --optimizer-options momentum 0.9 nesterov True
Options = Annotated[Mapping[str, Value], tyro.conf.arg(metavar="NAME VALUE ...")]
#: What torch calls a scheduler; ReduceLROnPlateau is called with the metric of an evaluation.
Scheduler = lr_scheduler.LRScheduler


@dataclass(frozen=True)
class Optimization:
    """Optimizer, learning rate along training, and clipping of gradients."""

    optimizer: str = "Adam"
    """Optimizer: a class of torch.optim, or SNTASGD."""
    learning_rate: float = 3e-3
    """Learning rate at the start."""
    optimizer_options: Options = field(default_factory=dict)
    """Further options of the optimizer, such as weight_decay or momentum."""
    scheduler: str = "cosine"
    """Learning rate along training: cosine (half a cosine, to 0 at the end), constant, or a class
    of torch.optim.lr_scheduler; ReduceLROnPlateau follows the metric of evaluations."""
    scheduler_options: Options = field(default_factory=dict)
    """Options of the scheduler, such as gamma or step_size."""
    clip_value: float | None = 1.0
    """Greatest magnitude of a gradient's entry; greater ones are clipped."""
    clip_norm: float | None = None
    """Greatest norm of all gradients together; greater ones are scaled."""

    def __post_init__(self) -> None:
        for name in ("clip_value", "clip_norm"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ValueError(f"expected {name} above 0, or None, found {limit}")

    def make_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """Make the optimizer; a ValueError says which name or option there is not."""
        kind: Any = SNTASGD if self.optimizer == "SNTASGD" else _named(torch.optim, self.optimizer)
        if kind is None or not issubclass(kind, Optimizer):
            raise ValueError(
                f"expected an optimizer of torch.optim or SNTASGD, found {self.optimizer!r}"
            )
        try:
            return kind(parameters, lr=self.learning_rate, **self.optimizer_options)
        except TypeError as error:
            raise ValueError(f"expected options of {self.optimizer}, found: {error}") from error

    def make_scheduler(self, optimizer: Optimizer, *, steps: int, step: int) -> LearningRate:
        """Make the schedule of the learning rate, for an optimizer after ``step`` steps."""
        fixed: dict[str, Callable[[int], float]] = {
            "cosine": lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)),
            "constant": lambda step: 1.0,
        }
        kind: Any = _named(lr_scheduler, self.scheduler)
        options: dict[str, Any] = dict(self.scheduler_options)
        if self.scheduler in fixed:
            kind, options["lr_lambda"] = lr_scheduler.LambdaLR, fixed[self.scheduler]
        if kind is None or not issubclass(kind, Scheduler):
            raise ValueError(
                "expected the scheduler cosine, constant, or a class of torch.optim.lr_scheduler, "
                f"found {self.scheduler!r}"
            )
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", optimizer.defaults["lr"])
        if step and kind is not lr_scheduler.ReduceLROnPlateau:
            options["last_epoch"] = step - 1
        try:
            return LearningRate(optimizer, kind(optimizer, **options))
        except TypeError as error:
            raise ValueError(f"expected options of {self.scheduler}, found: {error}") from error

    def clip(self, model: nn.Module) -> None:
        """Clip the gradients of a model: by value, then by norm."""
        if self.clip_value is not None:
            nn.utils.clip_grad_value_(model.parameters(), self.clip_value)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), self.clip_norm)


class LearningRate:
    """Learning rate of an optimizer along training, by a scheduler of torch.

    Raises:
        ValueError: the scheduler's state cannot be written to JSON.
    """

    def __init__(self, optimizer: Optimizer, scheduler: Any) -> None:
        self.optimizer, self._scheduler = optimizer, scheduler
        self._by_metric = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
        state = scheduler.state_dict()
        try:
            kept = json.loads(json.dumps(state)) == state
        except TypeError:
            kept = False
        if not kept:
            raise ValueError(
                "expected a scheduler whose state JSON can hold, so that the run can be resumed, "
                f"found {type(scheduler).__name__}"
            )

    def step(self) -> None:
        """Set the learning rate of the next step."""
        if not self._by_metric:
            self._scheduler.step()

    def observe(self, metric: float) -> None:
        """Show an error to schedulers that follow the metric."""
        if self._by_metric:
            self._scheduler.step(metric)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the scheduler, with values for JSON."""
        return self._scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any], rates: list[float]) -> None:
        """Load the state of a saved run, whose optimizer had these learning rates."""
        self._scheduler.load_state_dict(state)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def _named(module: object, name: str) -> type | None:
    found = getattr(module, name, None)
    return found if isinstance(found, type) else None
