"""Timing on the device, by its own clock."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping

import torch

from benchmarks._harness import Timing

REPEATS, WARMUP = 20, 3


def measure(cases: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
    """Seconds per run by events of the device, the contestants in turns: A B C A B C ...

    Before each run the second-level cache is filled with something else.
    """
    other = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(WARMUP + REPEATS):
        for name, run in cases.items():
            other.zero_()
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            run()
            ended.record()
            ended.synchronize()
            if turn >= WARMUP:
                taken[name].append(began.elapsed_time(ended) / 1e3)
    return {name: Timing.of(times) for name, times in taken.items()}


def both_ways(run: Callable[[], object]) -> dict[str, Callable[[], object]]:
    """Return the run with each choice that kernels make by size: X gathered from the second-level
    cache, and X staged in shared memory."""

    def forced(choice: str) -> Callable[[], None]:
        def forced_run() -> None:
            os.environ["SPARSE_ENGINE_STAGED"] = choice
            try:
                run()
            finally:
                del os.environ["SPARSE_ENGINE_STAGED"]

        return forced_run

    return {"gathered": forced("0"), "staged": forced("1")}


def copy_rate() -> float:
    """Bytes per second of a large copy on the device, those read and those written."""
    size = 1 << 30
    source = torch.empty(size, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    times = []
    for _ in range(10):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        target.copy_(source)
        ended.record()
        ended.synchronize()
        times.append(began.elapsed_time(ended) / 1e3)
    return 2 * size / statistics.median(times)
