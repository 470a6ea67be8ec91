"""What the full balance costs."""

from __future__ import annotations

from benchmarks._harness import Options
from benchmarks._report import Row
from benchmarks.graph.case import graph, row
from sparse_engine.analysis import structural_balance

# The sizes of a network of 150 units before, and in the middle of, its pruning.
CASES = [(150, 22_500, "at most 30 ms"), (150, 2_779, "at most 1 ms")]
QUICK = [(20, 100, "-")]


def rows(options: Options) -> list[Row]:
    """The time of the balance."""
    return [measured(*case, options) for case in (QUICK if options.quick else CASES)]


def measured(nodes: int, links: int, target: str, options: Options) -> Row:
    """The time of one."""
    w = graph(nodes, links)
    run = {"ours": lambda: structural_balance(w)}
    return row("balance", w, run, target=target, options=options)
