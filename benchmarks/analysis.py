"""What the analysis of a graph costs, and against networkx and igraph.

The targets are for two cores; they are shown beside what was measured, and nothing fails.
"""

from __future__ import annotations

import tyro

from benchmarks._harness import Options
from benchmarks._report import progress, report
from benchmarks.graph import annealing, balance, census, distance, null_models, signed_census

MODULES = (balance, signed_census, census, null_models, annealing, distance)


def run(options: Options) -> None:
    """Measures everything and reports it."""
    options.prepare()
    rows = [row for module in progress(MODULES, "analysis") for row in module.rows(options)]
    report("analysis", rows, options)


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__))
