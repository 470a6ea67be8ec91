"""Timing on the device, by its own clock."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping

import torch

from benchmarks._harness import Timing

REPEATS, WARMUP = 20, 3
#: Per second, of a clock that is at least as fast as any device's.
CYCLES = 3e9


def measure(
    cases: Mapping[str, Callable[[], object]],
    *,
    repeats: int = REPEATS,
    with_dispatch: bool = False,
) -> dict[str, Timing]:
    """Seconds per run by events of the device, the contestants in turns: A B C A B C ...

    Before each run the second-level cache is filled with something else. A contestant that raises
    an error is left out, unless it is ours.

    Args:
        cases: what to run, by name.
        repeats: turns of each.
        with_dispatch: include the time in which the device waits for Python, as a user does;
            otherwise the device is kept busy until Python has queued everything.
    """
    other = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    running = {name: seconds for name, run in cases.items() if (seconds := queued_in(name, run))}
    taken: dict[str, list[float]] = {name: [] for name in running}
    for turn in range(WARMUP + repeats):
        for name, seconds in running.items():
            other.zero_()
            if not with_dispatch:
                torch.cuda._sleep(int(2 * seconds * CYCLES))
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            cases[name]()
            ended.record()
            ended.synchronize()
            if turn >= WARMUP:
                taken[name].append(began.elapsed_time(ended) / 1e3)
    return {name: Timing.of(times) for name, times in taken.items()}


def queued_in(name: str, run: Callable[[], object]) -> float | None:
    """Seconds that Python takes to queue a run, or None where a peer fails."""
    try:
        run()
        torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        seconds = time.perf_counter() - began
        torch.cuda.synchronize()
    except RuntimeError as error:
        if name == "ours":
            raise
        print(f"{name} is left out: {str(error).splitlines()[0]}")
        torch.cuda.empty_cache()
        return None
    return seconds


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
