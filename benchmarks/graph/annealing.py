"""What it costs to make a network balanced."""

from __future__ import annotations

from dataclasses import replace

from benchmarks._harness import Options
from benchmarks._report import Row, quartiles
from sparse_engine.analysis import Cooling, anneal, signed_network

SEED, LARGE = Cooling(), Cooling(proposals=2_924)
CASES = [
    (150, 1_118, SEED, "at most 0.2 s"),
    (10_000, 100_000, LARGE, "at most 60 s"),
]
QUICK = [(20, 60, replace(SEED, factor=0.5), "-")]


def rows(options: Options) -> list[Row]:
    """The time of an annealing from the hottest to the coldest temperature."""
    return [measured(*case, options) for case in (QUICK if options.quick else CASES)]


def measured(nodes: int, links: int, cooling: Cooling, target: str, options: Options) -> Row:
    """The time of one annealing, and the balance before and after."""
    w = signed_network(nodes, links / (nodes * (nodes - 1)))
    found = anneal(w, target=1.0, cooling=cooling)
    timings = options.measure({"ours": lambda: anneal(w, target=1.0, cooling=cooling)})
    return {
        "analysis": "annealing",
        "n": nodes,
        "links": w.nnz,
        "proposals": cooling.proposals * len(found.temperatures),
        "balance": f"{found.balance[0]:.3f} -> {found.balance[-1]:.3f}",
        "ms": 1e3 * timings["ours"].median,
        "target": target,
        **quartiles(timings),
    }
