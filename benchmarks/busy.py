"""A training step with one thread and with all, on a machine that others want, too.

Each row is a network of so many units in one of three surroundings: idle; loops, twice as many busy
processes as processors; and processes, as many that start others which live for milliseconds, as a
test run does. "all / one" is how many times longer a step takes when it may have all threads; the
dense network is nn.LSTM, nn.GRU or nn.RNN with all threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import tyro
from torch import Tensor, nn

from benchmarks._harness import Options
from benchmarks._report import progress, quartiles, report
from sparse_engine import nn as sparse

STEPS, BATCH, INPUTS = 50, 32, 64

CELLS = {
    "rnn": (sparse.SparseRNN, nn.RNN),
    "lstm": (sparse.SparseLSTM, nn.LSTM),
    "gru": (sparse.SparseGRU, nn.GRU),
}

#: What each of the other processes does, by the name of the surroundings.
SURROUNDINGS = {
    "idle": None,
    "loops": "while True: pass",
    "processes": "import subprocess, sys\n"
    "while True: subprocess.run([sys.executable, '-c', 'import decimal, json'])",
}


@dataclass(frozen=True)
class Busy(Options):
    """Options of all benchmarks, and the cases.

    Attributes:
        cell: of both networks.
        units: of both networks, a row each.
        density: fraction of the recurrent weights of the sparse network that exist.
        processes: other processes; 0 is twice as many as there are processors.
    """

    cell: Literal[tuple(CELLS)] = "rnn"  # type: ignore[valid-type]
    units: tuple[int, ...] = (64, 128, 256, 512, 1024)
    density: float = 0.05
    processes: int = 0


@contextmanager
def others(does: str | None, count: int) -> Iterator[None]:
    """Keep so many processes running that do this, or none."""
    processes = [subprocess.Popen([sys.executable, "-c", does]) for _ in range(count) if does]
    try:
        yield
    finally:
        for each in processes:
            each.kill()
        for each in processes:
            each.wait()


def step(network: nn.Module, x: Tensor, threads: int) -> Callable[[], None]:
    """Return a training step without an optimizer, on so many threads."""
    upstream = torch.randn(*x.shape[:2], network.hidden_size)

    def run() -> None:
        torch.set_num_threads(threads)
        network.zero_grad()
        network(x)[0].backward(upstream)

    return run


def row(options: Busy, units: int, surroundings: str, threads: int) -> dict[str, object]:
    """Measure both networks."""
    x = torch.randn(STEPS, BATCH, INPUTS)
    sparse_class, dense_class = CELLS[options.cell]
    network = sparse_class(INPUTS, units, density=options.density)
    cases = {
        "one": step(network, x, 1),
        "all": step(network, x, threads),
        "dense": step(dense_class(INPUTS, units), x, threads),
    }
    with others(SURROUNDINGS[surroundings], options.processes or 2 * (os.cpu_count() or 1)):
        timings = options.measure(cases)
    return {
        "units": units,
        "beside": surroundings,
        **{f"{name} ms": 1e3 * timing.median for name, timing in timings.items()},
        "all / one": timings["all"].median / timings["one"].median,
        **quartiles(timings),
    }


def run(options: Busy) -> None:
    """Measure all cases and report them."""
    options.prepare()
    threads = torch.get_num_threads()
    cases = [
        (units, surroundings)
        for units in ((16,) if options.quick else options.units)
        for surroundings in SURROUNDINGS
    ]
    rows = [row(options, *case, threads) for case in progress(cases, "busy")]
    report("busy", rows, options, cell=options.cell, density=options.density, processors=threads)


if __name__ == "__main__":
    run(tyro.cli(Busy, description=__doc__))
