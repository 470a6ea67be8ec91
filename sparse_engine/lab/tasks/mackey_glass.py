"""Mackey-Glass task: forecast the next 50 values of a chaotic series from 500."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks.task import Step, Task
from sparse_engine.models import SequenceModel


def series(length: int, *, tau: int = 17, seed: int = 0, interval: float = 1.0) -> np.ndarray:
    """Integrate the Mackey-Glass equation and return ``tanh(x - 1)``, float64 ``[length]``.

    ``dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t)`` by Euler's method with ten steps
    per unit of time. The history starts at ``1.2 + U(-0.1, 0.1)``, and the first 1000 units of
    time are discarded.

    Args:
        length: number of values.
        tau: delay in units of time; 17 is mildly chaotic.
        seed: seed of the history.
        interval: time from one value to the next, a multiple of 0.1.
    """
    if length < 1 or tau < 1:
        raise ValueError(f"expected length and tau of at least 1, found {length} and {tau}")
    steps, washout = 10, 1000
    each = round(steps * interval)
    if each < 1 or abs(each - steps * interval) > 1e-9:
        raise ValueError(f"expected an interval that is a multiple of 0.1, found {interval}")
    delay = steps * tau
    history = (1.2 + np.random.default_rng(seed).uniform(-0.1, 0.1, delay)).tolist()
    x = history[-1]
    values = []
    # Each step depends on the one before, so this is a loop over plain floats.
    for step in range(steps * washout + each * length):
        at = step % delay
        past = history[at]
        history[at] = x
        x += (0.2 * past / (1 + past**10) - 0.1 * x) / steps
        values.append(x)
    return np.tanh(np.array(values[steps * washout + each - 1 :: each]) - 1)


@dataclass(frozen=True)
class MackeyGlass(Task):
    """Forecasting task of Zhang et al. (Communications Physics 2023), at their sizes.

    The 40,000 training values are split into 12 rows. Window k of a row has its values 500 k to
    500 k + 499, and the target is the 50 values after them; update u uses window u modulo 6. The
    metric is the mean squared error over 19 windows of the next 10,000 values.
    """

    name = "mackey-glass"
    summary = "forecast 50 values of a chaotic series from 500"
    metric = "mse"
    splits = ("validation",)
    recipe: ClassVar[dict[str, Any]] = {"steps": 6060, "input_std": 1.0}

    series_seed: int = 0
    """Seed of the series."""

    window: ClassVar[int] = 500
    horizon: ClassVar[int] = 50
    rows: ClassVar[int] = 12
    train_size: ClassVar[int] = 40_000
    validation_size: ClassVar[int] = 10_000

    @cached_property
    def _series(self) -> Tensor:
        values = series(self.train_size + self.validation_size, seed=self.series_seed)
        return torch.from_numpy(values).to(torch.get_default_dtype())

    def _windows(self, rows: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Return window ``number`` of each row, ``[window, rows, 1]``, and its target."""
        start = number * self.window
        end = start + self.window
        return rows[:, start:end].t().unsqueeze(2), rows[:, end : end + self.horizon]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the input ``[500, 12, 1]`` and the target ``[12, 50]`` of a step's number."""
        length = self.train_size // self.rows
        rows = self._series[: self.rows * length].view(self.rows, length)
        return self._windows(rows, step % ((length - self.horizon) // self.window))

    @cached_property
    def validation(self) -> tuple[Tensor, Tensor]:
        """All validation windows as one batch: ``[500, 19, 1]`` and ``[19, 50]``."""
        held_out = self._series[None, self.train_size :]
        count = (self.validation_size - self.horizon) // self.window
        pairs = [self._windows(held_out, number) for number in range(count)]
        return torch.cat([x for x, _ in pairs], 1), torch.cat([y for _, y in pairs])

    def build(self, network: RecurrentNetwork, *, generator: torch.Generator) -> SequenceModel:
        """Make a network of one input with a linear readout of its last state."""
        positions = self.window * self.rows
        recurrent = network.recurrent(1, generator=generator, positions=positions)
        return SequenceModel(recurrent, self.horizon, generator=generator)

    def loss(self, model: nn.Module, step: Step) -> Tensor:
        """Return the mean squared error on the step's batch."""
        x, y = self.batch(step.number)
        return nn.functional.mse_loss(model(x), y)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, split: str = "validation") -> dict[str, float]:
        """Return the mean squared error over the validation windows."""
        x, y = self.validation
        return {"mse": nn.functional.mse_loss(model(x), y).item()}
