"""SET with Adam's state on 100,000 neurons: the time of a rewiring, and how it grows with links."""

from __future__ import annotations

from benchmarks._harness import Options
from benchmarks._profile import shares
from benchmarks._report import Row
from benchmarks.topology.case import Case, Trained, adam
from sparse_engine.topology import SET

CASES = [Case("SET", 100_000, links) for links in (100_000, 1_000_000, 10_000_000, 50_000_000)]
QUICK = [Case("SET", 64, 400)]
TARGETS = {10_000_000: "at most 0.3"}


def rows(options: Options) -> list[Row]:
    """A row per size."""
    return [measured(case, options) for case in (QUICK if options.quick else CASES)]


def measured(case: Case, options: Options) -> Row:
    """The time of a rewiring with everything that belongs to it, and of its operations."""
    weight = case.weight()
    rewiring = SET(weight, adam(weight), every=1, new_links=Trained(weight))
    timing = options.measure({"rewiring": rewiring.step})["rewiring"]
    return case.time(
        "rewiring", timing, target=TARGETS.get(case.links), shares=shares(rewiring.step)
    )
