"""Rate at which this machine loads from the level of memory that holds an array of some size."""

from __future__ import annotations

from functools import cache

import torch

from benchmarks._harness import turn

SECONDS = 0.1
TOTAL = 1 << 26
SMALLEST = 1 << 14
LEVELS = {"L2": 1 << 18, "L3": 1 << 23, "RAM": 1 << 28}


@cache
def load_rate(size: int, *, split: bool = False) -> float:
    """Bytes per second of all threads together, summing an array again and again in one call.

    Threads are started once for many passes over the array: what starting them costs is of no
    account, also where the array is small. The best of many calls, since what is asked for is what
    the machine can do.

    Args:
        size: bytes of the array.
        split: each thread reads a part of the array; otherwise, each reads all of it.
    """
    threads = torch.get_num_threads()
    per_thread = max(size, SMALLEST) // 4 // (threads if split else 1)
    array = torch.randn(threads if split else 1, 1, per_thread)
    passes = max(2, TOTAL // (4 * per_thread * threads))
    reads = array.expand(threads, passes, -1)
    times = turn(lambda: reads.sum(2), SECONDS)
    return 4 * reads.numel() / min(times)


def levels() -> dict[str, float]:
    """GB/s from arrays that fit the second level of cache, the third, and neither."""
    return {name: load_rate(size, split=name == "RAM") / 1e9 for name, size in LEVELS.items()}
