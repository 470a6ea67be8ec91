"""What rewiring costs: its time, its memory, its share of training, and against other programs.

The targets are for two cores; they are shown beside what was measured, and nothing fails.
"""

from __future__ import annotations

import tyro

from benchmarks._harness import Options
from benchmarks._report import progress, report
from benchmarks.topology import bench_gradient, bench_seeds, bench_set, bench_share

MODULES = (bench_set, bench_gradient, bench_seeds, bench_share)


def run(options: Options) -> None:
    """Measures everything and reports it."""
    options.prepare()
    rows = [row for module in progress(MODULES, "rewire") for row in module.rows(options)]
    report("rewire", rows, options)


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__))
