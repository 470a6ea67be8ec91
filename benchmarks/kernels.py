"""The operations alone: GFLOP/s, the share of the measured limit, and the ratio to torch.sparse.

A link costs two flops per column, and loads a row of X, its value and its index. The limit is the
rate at which this machine loads from the level of memory that X lives in, measured in the same
run; the share says how near an operation comes to loading at that rate.
"""

from __future__ import annotations

import time

import torch
import tyro

from benchmarks.harness import Options, measure, progress, report
from benchmarks.ops import bench_rnn, bench_sddmm, bench_spmm
from benchmarks.ops.case import QUICK, SIZES


def load_rate(size: int) -> float:
    """Bytes per second, all threads together, at which an array of ``size`` bytes is summed."""
    array = torch.randn(max(1, size // 4))
    rounds = max(3, (1 << 28) // size)
    array.sum()
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(rounds):
            array.sum()
        best = min(best, time.perf_counter() - start)
    return rounds * array.numel() * 4 / best


def run(options: Options) -> None:
    """Measures all cases and reports them."""
    options.prepare()
    rates: dict[int, float] = {}
    rows = []
    for size in progress(QUICK if options.quick else SIZES, "kernels"):
        for module in (bench_spmm, bench_sddmm, bench_rnn):
            for case in module.cases(*size):
                x_bytes = 4 * size[0] * size[2]
                rate = rates.setdefault(x_bytes, load_rate(max(1 << 18, x_bytes)))
                contestants = {"ours": case.run}
                if case.peer is not None:
                    contestants["peer"] = case.peer
                median = measure(contestants, seconds=options.seconds)
                ours, peer = median["ours"], median.get("peer")
                rows.append(
                    {
                        "operation": case.name,
                        "n": size[0],
                        "density": size[1],
                        "B": size[2],
                        "us": 1e6 * ours,
                        "GFLOP/s": case.flops / ours / 1e9,
                        "share of load limit": case.gathered_bytes / rate / ours,
                        "torch us": None if peer is None else 1e6 * peer,
                        "x torch": None if peer is None else peer / ours,
                        "target": case.target,
                    }
                )
    report("kernels", rows, options)


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__))
