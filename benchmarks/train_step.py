"""One training step, forward and backward: a sparse network against what people use today.

Every contestant has the same weights and computes the same function, which is checked first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tyro

from benchmarks._contest import check, steps
from benchmarks._harness import Options
from benchmarks._report import progress, quartiles, report
from benchmarks.cells import FAMILIES
from benchmarks.cells.family import Family


@dataclass(frozen=True)
class TrainStep(Options):
    """The options of all benchmarks, and

    Attributes:
        cell: of the network.
    """

    cell: Literal[tuple(FAMILIES)] = "rnn"  # type: ignore[valid-type]


def row(family: Family, options: Options) -> dict[str, object]:
    """Checks and measures one case."""
    contestants, case = family.contestants(), family.case
    check_family(family)
    timings = options.measure(steps(contestants, family.upstream))
    median = {name: timing.median for name, timing in timings.items()}
    ours = median.pop("sparse_engine")
    sizes = {
        "hidden": case.hidden,
        "density": case.density,
        "T": case.steps,
        "B": case.batch,
        "ms": 1e3 * ours,
    }
    times = {f"{name} ms": 1e3 * seconds for name, seconds in median.items()}
    ratios = {f"x {name}": seconds / ours for name, seconds in median.items()}
    target = None if case.target is None else f"{case.target} x {case.against}"
    return sizes | times | ratios | {"target": target} | quartiles(timings)


def run(options: TrainStep) -> None:
    """Measures all cases and reports them."""
    options.prepare()
    family = FAMILIES[options.cell]
    check_tiny(family)
    cases = [family.tiny] if options.quick else family.cases
    rows = [row(family(case), options) for case in progress(cases, "train_step")]
    report("train_step", rows, options, cell=options.cell)


def check_tiny(family: type[Family]) -> None:
    """Fails within a second where a large case would fail after minutes."""
    check_family(family(family.tiny))


def check_family(family: Family) -> None:
    """All contestants compute the same."""
    family = family.to_check()
    check(family.contestants(), family.upstream, family.patterns, tolerance=family.tolerance)


if __name__ == "__main__":
    run(tyro.cli(TrainStep, description=__doc__))
