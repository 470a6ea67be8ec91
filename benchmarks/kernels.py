"""The operations alone: GFLOP/s, the ratio to torch.sparse, and how near they come to the limit.

A link costs two flops per column. It loads a row of X, its value and its index, so no kernel of
this kind is faster than the machine loads from where X lives; that rate is measured in the same
run. The share of the limit is the time that these loads take at this rate, to the time taken.
"""

from __future__ import annotations

import tyro

from benchmarks._bandwidth import levels
from benchmarks._harness import Options
from benchmarks._report import progress, quartiles, report
from benchmarks.ops import bench_rnn, bench_sddmm, bench_spmm
from benchmarks.ops.case import QUICK, SIZES, OperationCase

MODULES = (bench_spmm, bench_sddmm, bench_rnn)


def row(case: OperationCase, options: Options) -> dict[str, object]:
    """Measures one case."""
    contestants = {"ours": case.run} | ({} if case.peer is None else {"torch": case.peer})
    timings = options.measure(contestants)
    ours = timings["ours"].median
    peer = timings["torch"].median if "torch" in timings else None
    return {
        "operation": case.name,
        "n": case.weight.shape[0],
        "density": case.weight.density,
        "B": case.columns,
        "us": 1e6 * ours,
        "GFLOP/s": case.flops / ours / 1e9,
        "share of limit": case.bound / ours,
        "torch us": None if peer is None else 1e6 * peer,
        "x torch": None if peer is None else peer / ours,
        "target": case.target,
        **quartiles(timings),
    }


def run(options: Options) -> None:
    """Measures all cases and reports them."""
    options.prepare()
    rows = [
        row(case, options)
        for size in progress(QUICK if options.quick else SIZES, "kernels")
        for module in MODULES
        for case in module.cases(*size)
    ]
    rates = levels()
    print("loads, GB/s:", ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()))
    report("kernels", rows, options, load_gigabytes_per_second=rates)


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__))
