"""Mackey-Glass series: forecasts of the next values, and continuations as in NeuroBench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks.sequences import Sequences
from sparse_engine.lab.tasks.supervised import Examples, Regression
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
class MackeyGlass(Sequences, Regression):
    """Forecasting task of Zhang et al. (Communications Physics 2023), at their sizes.

    The 40,000 training values are split into 12 rows. Window k of a row has its values 500 k to
    500 k + 499, and the target is the 50 values after them; update u uses window u modulo 6. The
    metric is the mean squared error over 19 windows of the next 10,000 values.
    """

    name = "mackey-glass"
    summary = "forecast 50 values of a chaotic series from 500"
    splits = ("validation",)
    recipe: ClassVar[dict[str, Any]] = {"steps": 6060, "input_std": 1.0}

    batch_size: int = 12
    """Windows in a batch."""
    series_seed: int = 0
    """Seed of the series."""

    window: ClassVar[int] = 500
    features: ClassVar[int] = 1
    answers: ClassVar[int] = 50
    rows: ClassVar[int] = 12
    train_size: ClassVar[int] = 40_000
    validation_size: ClassVar[int] = 10_000

    def load(self) -> Mapping[str, Examples]:
        """Cut the series into windows ``[500, 1]`` and their targets ``[50]``."""
        drawn = series(self.train_size + self.validation_size, seed=self.series_seed)
        values = torch.from_numpy(drawn).to(torch.get_default_dtype())
        length = self.train_size // self.rows
        rows = values[: self.train_size].unfold(0, length, length)
        held_out = values[None, self.train_size :]
        return {"train": self._windows(rows), "validation": self._windows(held_out)}

    def _windows(self, rows: Tensor) -> Examples:
        """Return the first window of each row with its target, then the second, and so on."""
        windows = rows.unfold(1, self.window + self.answers, self.window).transpose(0, 1)
        windows = windows.flatten(0, 1)
        return Examples(windows[:, : self.window, None], windows[:, self.window :])

    def batch(self, step: Step) -> Examples:
        """Return this rank's share of the windows of a step, one of each row."""
        first = step.number % self.batches * self.batch_size
        windows = self.examples["train"][first : first + self.batch_size]
        return windows[step.share(self.batch_size)]


def smape(forecast: Tensor, values: Tensor) -> float:
    """Return the symmetric mean absolute percentage error: the mean of 200 |f - y| / (|f| + |y|).

    Values that are not finite count as the greatest error, 200.
    """
    error = 200 * (forecast - values).abs() / (forecast.abs() + values.abs())
    return error.nan_to_num(nan=200.0, posinf=200.0).mean().item()


@dataclass(frozen=True)
class MackeyGlassContinuation(Task):
    """Mackey-Glass task of NeuroBench (Yik et al., Nature Communications 2025) with tau = 17.

    A network learns to predict each next value of ten Lyapunov times of the series, 750 values,
    from the last 50. It then continues the series on its own for another ten: its predictions
    become its inputs. The metric is the symmetric mean absolute percentage error of the 750 values.

    The series is that of :func:`series`, with 75 values in 195 units of time; NeuroBench has 75 in
    197 units, from a solver of variable step, and begins at a constant history. For validation the
    network continues the last two of the ten Lyapunov times that it was trained on.
    """

    repeat: int = 0
    """Number of the repetition; each begins half a Lyapunov time after the one before."""
    noise: float = 0.01
    """Standard deviation of the noise that is added to inputs in training, in standard deviations
    of the series."""

    name = "mackey-glass-continuation"
    summary = "continue a chaotic series for ten Lyapunov times"
    metric = "smape"
    recipe: ClassVar[dict[str, Any]] = dict(
        steps=1000, every=50, learning_rate=5e-3, cell="lstm", hidden=100, density=0.1, fraction=0.2
    )

    #: Values in a Lyapunov time, and the time from one to the next.
    lyapunov_values: ClassVar[int] = 75
    interval: ClassVar[float] = 2.6
    #: Lyapunov times of training, of which the last ones are for validation, and of the test.
    train_times: ClassVar[int] = 10
    validation_times: ClassVar[int] = 2
    test_times: ClassVar[int] = 10
    window: ClassVar[int] = 50

    @cached_property
    def values(self) -> Tensor:
        """The series of training and test, float64, one value longer than both."""
        if self.repeat < 0:
            raise ValueError(f"expected repeat of at least 0, found {self.repeat}")
        start = self.repeat * self.lyapunov_values // 2
        length = (self.train_times + self.test_times) * self.lyapunov_values + 1
        transformed = series(start + length, interval=self.interval)[start:]
        return torch.from_numpy(1 + np.arctanh(transformed))

    @property
    def train_size(self) -> int:
        """The number of values in training."""
        return self.train_times * self.lyapunov_values

    def standardized(self) -> tuple[Tensor, float, float]:
        """Return the series in standard deviations of its training values, mean and deviation."""
        trained = self.values[: self.train_size]
        mean, spread = trained.mean().item(), trained.std().item()
        scaled = (self.values - mean) / spread
        return scaled.to(torch.get_default_dtype()), mean, spread

    @cached_property
    def training(self) -> tuple[Tensor, Tensor]:
        """The training windows and the next value of each, standardized.

        Windows are ``[train_size, 1, window]``, with zeros before the start of the series.
        """
        scaled, _, _ = self.standardized()
        padded = nn.functional.pad(scaled[: self.train_size], (self.window - 1, 0))
        return padded.unfold(0, self.window, 1).unsqueeze(1), scaled[1 : self.train_size + 1]

    def build(self, network: RecurrentNetwork, *, generator: torch.Generator) -> SequenceModel:
        """Make a network that reads windows, with a linear readout of every state."""
        recurrent = network.recurrent(
            self.window, generator=generator, positions=self.train_times * self.lyapunov_values
        )
        return SequenceModel(
            recurrent,
            1,
            every_step=True,
            step_dropout=network.step_dropout,
            readout_std=network.readout_std,
            generator=generator,
        )

    def loss(self, model: nn.Module, step: Step) -> Tensor:
        """Return the mean squared error of the next values of the whole training series."""
        windows, following = self.training
        noise = torch.randn(windows.shape, generator=step.generator(), dtype=windows.dtype)
        outputs = model(windows + self.noise * noise)
        return nn.functional.mse_loss(outputs.flatten(), following)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, split: str = "validation") -> dict[str, float]:
        """Return the error of a continuation of the series."""
        times = self.validation_times if split == "validation" else self.test_times
        end = self.train_size if split == "validation" else len(self.values) - 1
        count = times * self.lyapunov_values
        wanted = self.values[end - count + 1 : end + 1]
        return {"smape": smape(self.continuation(model, end - count, count), wanted)}

    @torch.no_grad()
    def continuation(self, model: Any, start: int, count: int) -> Tensor:
        """Return how a network continues the series, float64 ``[count]``.

        Args:
            model: the network, a :class:`sparse_engine.models.SequenceModel`.
            start: number of the last value that it is given, at most the number of training values.
            count: number of values to forecast.
        """
        scaled, mean, spread = self.standardized()
        windows = nn.functional.pad(scaled[: start + 1], (self.window - 1, 0))
        windows = windows.unfold(0, self.window, 1).unsqueeze(1)
        states, final = model.recurrent(windows)
        found = [model.readout(states[-1])]
        window = windows[-1:]
        while len(found) < count:
            window = torch.cat([window[:, :, 1:], found[-1][None]], 2)
            states, final = model.recurrent(window, final)
            found.append(model.readout(states[-1]))
        return torch.cat(found).flatten().double() * spread + mean
