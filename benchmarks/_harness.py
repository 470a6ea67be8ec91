"""Timing contestants against each other."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

FEWEST_TURNS = 5


@dataclass(frozen=True)
class Options:
    """Options that every benchmark takes.

    Attributes:
        json: also write what was measured to this file.
        threads: CPU threads; 0 leaves the choice to PyTorch.
        repeats: turns of each contestant, as far as the time goes, but never fewer than 5.
        seconds: time to spend on each contestant of each case.
        quick: tiny sizes, to see that everything runs; the numbers mean nothing.
    """

    json: Path | None = None
    threads: int = 0
    repeats: int = 10
    seconds: float = 2.0
    quick: bool = False

    def prepare(self) -> None:
        """Sets the number of threads and the seed of the inputs."""
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        if self.threads:
            torch.set_num_threads(self.threads)
        torch.manual_seed(0)

    def measure(self, cases: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        """:func:`measure` with these settings."""
        return measure(cases, repeats=self.repeats, min_time=0.0 if self.quick else self.seconds)


@dataclass(frozen=True)
class Timing:
    """Seconds that one run of a contestant takes: median, first and third quartile."""

    median: float
    lower: float
    upper: float
    runs: int

    @classmethod
    def of(cls, times: list[float]) -> Timing:
        """Sums up at least two runs."""
        lower, median, upper = statistics.quantiles(times, n=4, method="inclusive")
        return cls(median, lower, upper, len(times))


def measure(
    cases: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 10,
    min_time: float = 1.0,
) -> dict[str, Timing]:
    """Times all cases in turns: A B C A B C ...

    What disturbs the machine for a while then disturbs all of them. In its turn a case runs twice,
    and again until its share of ``min_time`` is over, so that a quick one is not judged by a few
    runs. The first run does not count: what others left in caches and memory is not what a case
    finds that runs again and again. Where slow cases have used up the time of all, the turns end
    early, after five.

    Args:
        cases: what to run, by name; each run includes everything that a user pays for.
        repeats: turns of each case.
        min_time: seconds for each case.
    """
    taken: dict[str, list[float]] = {name: [] for name in cases}
    share, turns = min_time / repeats, 0
    began = time.perf_counter()
    while turns < FEWEST_TURNS or (
        turns < repeats and time.perf_counter() - began < min_time * len(cases)
    ):
        for name, run in cases.items():
            taken[name] += turn(run, share)
        turns += 1
    return {name: Timing.of(times) for name, times in taken.items()}


def turn(run: Callable[[], object], seconds: float) -> list[float]:
    """Times of one run, and of more until ``seconds`` are over, after one that does not count."""
    times: list[float] = []
    run()
    began = start = time.perf_counter()
    while not times or start - began < seconds:
        run()
        end = time.perf_counter()
        times.append(end - start)
        start = end
    return times
