"""A training step on a machine whose processors other processes want, too.

The same step of a sparse LSTM and of nn.LSTM, alone and beside twice as many busy processes as
there are processors. "slower" is how many times longer a step takes beside them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor, nn

from benchmarks._harness import Options, Timing
from benchmarks._report import quartiles, report
from sparse_engine.nn import SparseLSTM

STEPS, BATCH, INPUTS = 50, 32, 64


@dataclass(frozen=True)
class Busy(Options):
    """Options of all benchmarks, and the case.

    Attributes:
        units: units of both networks.
        density: fraction of the recurrent weights of the sparse network that exist.
        processes: busy processes; 0 is twice as many as there are processors.
    """

    units: int = 1024
    density: float = 0.05
    processes: int = 0


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep so many processes busy."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in processes:
            each.kill()
        for each in processes:
            each.wait()


def step(network: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return a training step without an optimizer."""

    def run() -> None:
        network.zero_grad()
        network(x)[0].sum().backward()

    return run


def run(options: Busy) -> None:
    """Measure both networks, alone and beside the others, and report it."""
    options.prepare()
    units = 16 if options.quick else options.units
    x = torch.randn(STEPS, BATCH, INPUTS)
    cases = {
        "sparse_engine": step(SparseLSTM(INPUTS, units, density=options.density), x),
        "nn.LSTM": step(nn.LSTM(INPUTS, units), x),
    }
    # One contestant after the other: what a step finds out about its machine holds for the next.
    alone = {name: options.measure({name: case})[name] for name, case in cases.items()}
    beside: dict[str, Timing] = {}
    with busy_processes(options.processes or 2 * (os.cpu_count() or 1)):
        for name, case in cases.items():
            beside[name] = options.measure({name: case})[name]
    rows = [
        {
            "network": name,
            "alone ms": 1e3 * alone[name].median,
            "beside ms": 1e3 * beside[name].median,
            "slower": beside[name].median / alone[name].median,
        }
        | quartiles({"alone": alone[name], "beside": beside[name]})
        for name in cases
    ]
    report("busy", rows, options, units=units, density=options.density)


if __name__ == "__main__":
    run(tyro.cli(Busy, description=__doc__))
