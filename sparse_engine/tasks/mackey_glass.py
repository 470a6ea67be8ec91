"""Mackey-Glass task: forecast the next 50 values of a chaotic series from 500."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from sparse_engine.tasks.task import RecurrentFactory, Task


def series(length: int, *, tau: int = 17, seed: int = 0) -> np.ndarray:
    """Integrate the Mackey-Glass equation and return ``tanh(x - 1)``, float64 ``[length]``.

    ``dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t)`` by Euler's method with ten steps
    per unit of time. The history starts at ``1.2 + U(-0.1, 0.1)``, and the first 1000 units of
    time are discarded.

    Args:
        length: number of values, one per unit of time.
        tau: delay in units of time; 17 is mildly chaotic.
        seed: seed of the history.

    Raises:
        ValueError: a length or delay below 1.
    """
    if length < 1 or tau < 1:
        raise ValueError(f"expected length and tau of at least 1, found {length} and {tau}")
    steps, washout = 10, 1000
    delay = steps * tau
    history = (1.2 + np.random.default_rng(seed).uniform(-0.1, 0.1, delay)).tolist()
    x = history[-1]
    values = []
    # Each step depends on the one before, so this is a loop over plain floats.
    for time in range(washout + length):
        for step in range(steps):
            at = (time * steps + step) % delay
            past = history[at]
            history[at] = x
            x += (0.2 * past / (1 + past**10) - 0.1 * x) / steps
        values.append(x)
    return np.tanh(np.array(values[washout:]) - 1)


class Forecaster(nn.Module):
    """Recurrent network with a linear readout of its last state."""

    def __init__(self, recurrent: nn.Module, hidden_size: int, horizon: int) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.readout = nn.Linear(hidden_size, horizon)

    def forward(self, x: Tensor) -> Tensor:
        """Forecast ``[batch, horizon]`` values from inputs ``[steps, batch, inputs]``."""
        states, _ = self.recurrent(x)
        return self.readout(states[-1])


class MackeyGlass(Task):
    """Forecasting task of Zhang et al. (Communications Physics 2023), at their sizes.

    The 40,000 training values are split into 12 rows. Window k of a row has its values 500 k to
    500 k + 499, and the target is the 50 values after them; update u uses window u modulo 6. The
    metric is the mean squared error over 19 windows of the next 10,000 values.

    Args:
        seed: seed of the series.
    """

    name = "mackey-glass"
    metric = "validation MSE"
    window, horizon, rows, train_size, validation_size = 500, 50, 12, 40_000, 10_000
    positions = window * rows

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    @cached_property
    def _series(self) -> Tensor:
        values = series(self.train_size + self.validation_size, seed=self.seed)
        return torch.from_numpy(values).to(torch.get_default_dtype())

    def _windows(self, rows: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Return window ``number`` of each row, ``[window, rows, 1]``, and its target."""
        start = number * self.window
        end = start + self.window
        return rows[:, start:end].t().unsqueeze(2), rows[:, end : end + self.horizon]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the input ``[500, 12, 1]`` and the target ``[12, 50]`` of a step."""
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

    def build(self, recurrent: RecurrentFactory, *, generator: torch.Generator) -> nn.Module:
        """Make a network of one input with a linear readout of Glorot-uniform weights."""
        network = recurrent(1)
        model = Forecaster(network, network.hidden_size, self.horizon)
        bound = math.sqrt(6 / (network.hidden_size + self.horizon))
        with torch.no_grad():
            model.readout.weight.uniform_(-bound, bound, generator=generator)
            model.readout.bias.zero_()
            network.get_parameter("weight_ih_l0").normal_(generator=generator)
            network.get_parameter("bias_ih_l0").zero_()
            network.get_parameter("bias_hh_l0").zero_()
        return model

    def loss(self, model: nn.Module, step: int) -> Tensor:
        """Return the mean squared error on the step's batch."""
        x, y = self.batch(step)
        return nn.functional.mse_loss(model(x), y)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> float:
        """Return the mean squared error over the validation windows."""
        x, y = self.validation
        return nn.functional.mse_loss(model(x), y).item()
