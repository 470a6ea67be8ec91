"""A recurrent network of 100,000 neurons and 10,000,000 trained links, on two cores of a CPU.

All neurons receive a few slow random signals, and some of them are to repeat the mean of these
signals with a delay. Every link is trained by back-propagation through time with Adam, and SET
rewires the network. Prints the median times of a training step and of a rewiring, and the peak
memory of the whole process.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor, nn
from tqdm.auto import tqdm

from sparse_engine import machine
from sparse_engine.files import write_atomically
from sparse_engine.nn import SparseRNN
from sparse_engine.topology import SET

INPUTS, READERS, DELAY = 4, 64, 5
STEP = ("forward pass", "backward pass", "update")


@dataclass(frozen=True)
class Options:
    """Sizes of the demonstration.

    Attributes:
        neurons: units of the recurrent layer.
        links: links into each of them, on average.
        duration: time steps of a sequence.
        batch: sequences at a time.
        steps: training steps.
        every: training steps from one rewiring to the next.
        threads: CPU threads; 0 leaves the choice to PyTorch.
        json: write what was measured to this file.
    """

    neurons: int = 100_000
    links: int = 100
    duration: int = 20
    batch: int = 16
    steps: int = 12
    every: int = 4
    threads: int = 0
    json: Path | None = None


class Clock:
    """Collects the times of what is done again and again."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self.start()

    def start(self) -> None:
        """Begin the next lap now."""
        self.began = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a lap, and begin the next."""
        now = time.perf_counter()
        self.times[name].append(now - self.began)
        self.began = now

    def medians(self) -> dict[str, float]:
        """Median seconds of a training step, of its parts and of the rest."""
        whole = {"step": [sum(parts) for parts in zip(*(self.times[p] for p in STEP), strict=True)]}
        return {
            f"seconds per {name}": statistics.median(times)
            for name, times in (whole | self.times).items()
        }


def signals(duration: int, batch: int) -> tuple[Tensor, Tensor]:
    """Smooth random input ``[duration, batch, INPUTS]`` and its delayed mean, in (-1, 1)."""
    phase = 2 * torch.pi * torch.rand(batch, INPUTS)
    speed = 0.2 + 0.6 * torch.rand(batch, INPUTS)
    time_axis = torch.arange(-DELAY, duration)[:, None, None]
    waves = torch.sin(speed * time_axis + phase)
    return waves[DELAY:], waves[:duration].mean(2)


def peak_bytes() -> int:
    """Return the peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def train(options: Options) -> dict[str, float]:
    """Trains the network; returns what was measured."""
    torch.manual_seed(0)
    network = SparseRNN(INPUTS, options.neurons, density=options.links / options.neurons, gain=1.7)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    rewiring = SET(network, optimizer, fraction=0.3, every=options.every)
    clock, losses = Clock(), []
    bar = tqdm(range(options.steps), unit="step")
    for _ in bar:
        x, y = signals(options.duration, options.batch)
        clock.start()
        optimizer.zero_grad()
        states, _ = network(x)
        loss = nn.functional.mse_loss(states[..., :READERS].mean(2), y)
        clock.lap("forward pass")
        loss.backward()
        clock.lap("backward pass")
        optimizer.step()
        clock.lap("update")
        if rewiring.step():
            clock.lap("rewiring")
        losses.append(loss.item())
        bar.set_postfix(loss=f"{losses[-1]:.3f}")
    return {
        "links": network.weight_hh_l0.nnz,
        **clock.medians(),
        "peak GB": peak_bytes() / 1e9,
        "first loss": losses[0],
        "last loss": losses[-1],
    }


def main(options: Options) -> None:
    """Trains, prints what was measured, and writes it where that was asked for."""
    if options.threads:
        torch.set_num_threads(options.threads)
    measured = train(options)
    for name, value in measured.items():
        print(f"{name:26} {value:,.3f}" if isinstance(value, float) else f"{name:26} {value:,}")
    if options.json is not None:
        settings = {name: value for name, value in asdict(options).items() if name != "json"}
        record = {"settings": settings, "machine": machine.info(), "measured": measured}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.json, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
