"""Next value of a series that does not end: chaotic maps and flows, sunspots and a laser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks.files import DataFile
from sparse_engine.lab.tasks.readers import read_lines
from sparse_engine.lab.tasks.sequences import Sequences
from sparse_engine.lab.tasks.supervised import Examples, Regression
from sparse_engine.lab.tasks.task import Step
from sparse_engine.models import SequenceModel


def henon(lanes: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return x of ``x' = 1 - 1.4 x^2 + y, y' = 0.3 x``; lane i starts at ``(0.1 + 0.01 i, 0)``."""
    x, y = 0.1 + 0.01 * np.arange(lanes), np.zeros(lanes)
    values = np.empty((length, lanes))
    for step in range(length):
        values[step] = x
        x, y = 1 - 1.4 * x**2 + y, 0.3 * x
    return values.T


def mackey_glass(lanes: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return x of ``dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x``, by Euler steps of 1.

    The 18 values of the history are drawn from U(1.2, 1.4).
    """
    tau = 17
    values = np.empty((tau + 1 + length, lanes))
    values[: tau + 1] = 1.2 + 0.2 * rng.random((tau + 1, lanes))
    for step in range(tau, tau + length):
        x, past = values[step], values[step - tau]
        values[step + 1] = x + 0.2 * past / (1 + past**10) - 0.1 * x
    return values[tau + 1 :].T


def lorenz(lanes: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return x of the Lorenz equations with sigma 10, rho 28 and beta 8/3, by Euler steps of 0.01.

    Lanes start at ``1 + 0.1 N`` in each dimension. Every second state is kept, but the first 100.
    """
    state, dropped = 1 + 0.1 * rng.standard_normal((3, lanes)), 100
    values = np.empty((dropped + length, lanes))
    for step in range(2 * len(values)):
        if step % 2 == 0:
            values[step // 2] = state[0]
        x, y, z = state
        state = state + 0.01 * np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])
    return values[dropped:].T


#: Series that equations give, ``[lanes, length]``, by name.
GENERATED = {"henon": henon, "mackey-glass": mackey_glass, "lorenz": lorenz}
#: Series that were measured: after how many steps a lane begins again.
MEASURED = {"sunspot": 3000, "laser": 1000}


@dataclass(frozen=True)
class NextValue(Sequences, Regression):
    """Next value of a series, for networks that learn while it runs (``--online``).

    Each sequence of a batch is a lane of its own, standardized over its length. Batch k has the
    values from 64 + 200 k on, so that lanes go on from batch to batch; states begin anew with each.
    Series of the equations start differently in each lane. A measured series is closed to a circle,
    on which lanes start at equal distances, the first at random; after 3,000 steps of
    ``$SPARSE_ENGINE_DATA/online/sunspot.txt``, monthly numbers of sunspots, or 1,000 of
    ``laser.txt``, the Santa Fe laser, a lane begins again. Validation is the batch after those of
    training, which of a measured series the network has seen.
    """

    series: Literal[(*GENERATED, *MEASURED)] = "henon"  # type: ignore[valid-type]
    """Series: henon, mackey-glass and lorenz by their equations, or measured ones from files."""
    series_seed: int = 0
    """Seed of the first values of mackey-glass and lorenz, and of the shifts of measured series."""
    batch_size: int = 8
    """Lanes."""

    name = "next-value"
    summary = "next value of a series without end, to learn online"
    splits = ("validation",)
    recipe: ClassVar[dict[str, Any]] = {
        "steps": 15_000,
        "every": 250,
        "learning_rate": 1e-3,
        "scheduler": "constant",
        "clip_value": None,
        "hidden": 64,
        "gain": 1.0,
        "save_every": 5000,
    }
    every_step = True
    steps: ClassVar[int] = 200
    features: ClassVar[int] = 1
    answers: ClassVar[int] = 1
    #: Values at the start of a series that are left out, and batches of the training.
    skipped: ClassVar[int] = 64
    train_batches: ClassVar[int] = 75

    def load(self) -> Mapping[str, Examples]:
        """Generate or read the series, and cut it into windows, all lanes of one after another."""
        count = period = self.steps * (self.train_batches + 1)
        if self.batch_size < 1 or self.series_seed < 0:
            raise ValueError(
                "expected batch_size of at least 1 and series_seed of at least 0, found "
                f"{self.batch_size} and {self.series_seed}"
            )
        rng = np.random.default_rng(self.series_seed)
        if self.series in MEASURED:
            path = DataFile("online", f"{self.series}.txt").find()
            circle = np.array([line.floats(0, 1)[0] for line in read_lines(path, 1)])
            n, period = len(circle), MEASURED[self.series]
            if n < 2 or circle.std() == 0:
                raise ValueError(f"expected numbers that differ, found {n} numbers in {path}")
            starts = rng.integers(n) + np.arange(self.batch_size) * (n // self.batch_size)
            values = circle[(starts[:, None] + np.arange(self.skipped + period + 1)) % n]
        else:
            values = GENERATED[self.series](self.batch_size, self.skipped + count + 1, rng)
        lanes = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
        lanes = torch.from_numpy(lanes).to(torch.get_default_dtype())
        now = self.skipped + torch.arange(count) % period

        def windows(at: torch.Tensor) -> torch.Tensor:
            of_lanes = lanes[:, at].unfold(1, self.steps, self.steps)
            return of_lanes.transpose(0, 1).flatten(0, 1)[..., None]

        examples = Examples(windows(now), windows(now + 1))
        trained = self.train_batches * self.batch_size
        return {"train": examples[:trained], "validation": examples[trained:]}

    def batch(self, step: Step) -> Examples:
        """Return this rank's share of the lanes of a step."""
        first = step.number % self.train_batches * self.batch_size
        return self.examples["train"][first : first + self.batch_size][step.share(self.batch_size)]

    def build(self, network: RecurrentNetwork, *, generator: torch.Generator) -> SequenceModel:
        """Make a recurrent network with a linear readout, whose biases begin at 0."""
        model = super().build(network, generator=generator)
        for name, parameter in model.recurrent.named_parameters():
            if name.startswith("bias"):
                torch.nn.init.zeros_(parameter)
        return model
