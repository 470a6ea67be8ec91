"""A recurrent network of 100,000 neurons and 10,000,000 trained links, on a laptop's CPU.

Some neurons receive a few slow random signals, and others are to repeat the sum of these signals
with a delay. Every link is trained by back-propagation through time with Adam, and SET rewires
the network. Prints the median time of a training step and of a rewiring, and the peak memory.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor, nn
from tqdm.auto import tqdm

from sparse_engine.nn import SparseRNN
from sparse_engine.topology import SET

INPUTS, READERS, DELAY = 4, 64, 5


@dataclass(frozen=True)
class Options:
    """Sizes of the demonstration.

    Attributes:
        neurons: units of the recurrent layer.
        links: links into each of them.
        duration: time steps of a sequence.
        batch: sequences at a time.
        steps: training steps.
        every: training steps from one rewiring to the next.
        json: write what was measured to this file.
    """

    neurons: int = 100_000
    links: int = 100
    duration: int = 20
    batch: int = 16
    steps: int = 12
    every: int = 4
    json: Path | None = None


def signals(duration: int, batch: int) -> tuple[Tensor, Tensor]:
    """Smooth random input ``[duration, batch, INPUTS]`` and its delayed sum, scaled to (-1, 1)."""
    phase = 2 * torch.pi * torch.rand(batch, INPUTS)
    speed = 0.2 + 0.6 * torch.rand(batch, INPUTS)
    time_axis = torch.arange(-DELAY, duration)[:, None, None]
    waves = torch.sin(speed * time_axis + phase)
    return waves[DELAY:], waves[:duration].mean(2)


def main(options: Options) -> dict[str, float]:
    """Trains, prints and returns what was measured."""
    torch.manual_seed(0)
    network = SparseRNN(INPUTS, options.neurons, density=options.links / options.neurons, gain=1.7)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    rewiring = SET(network, optimizer, fraction=0.3, every=options.every)
    step_times, rewiring_times = [], []
    bar = tqdm(range(options.steps), unit="step")
    for _ in bar:
        x, y = signals(options.duration, options.batch)
        start = time.perf_counter()
        optimizer.zero_grad()
        states, _ = network(x)
        loss = nn.functional.mse_loss(states[..., :READERS].mean(2), y)
        loss.backward()
        optimizer.step()
        middle = time.perf_counter()
        step_times.append(middle - start)
        if rewiring.step():
            rewiring_times.append(time.perf_counter() - middle)
        bar.set_postfix(loss=f"{loss.item():.3f}")
    measured = {
        "links": network.weight_hh_l0.nnz,
        "seconds per step": statistics.median(step_times),
        "seconds per rewiring": statistics.median(rewiring_times or [0.0]),
        "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "last loss": loss.item(),
    }
    for name, value in measured.items():
        print(f"{name:22} {value:,.3f}")
    if options.json is not None:
        settings = {k: v for k, v in asdict(options).items() if k != "json"}
        options.json.write_text(json.dumps({"settings": settings, "measured": measured}, indent=1))
    return measured


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
