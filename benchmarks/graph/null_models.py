"""What null models cost."""

from __future__ import annotations

from benchmarks._harness import Options
from benchmarks._report import Row
from benchmarks.graph.case import graph, row
from sparse_engine.analysis import (
    DegreePreserving,
    ErdosRenyiNull,
    NullKind,
    SignShuffle,
    null_model,
)

CASES = [
    (SignShuffle(), "at most 100 ms"),
    (DegreePreserving(), "-"),
    (DegreePreserving(keep_mutual=True), "-"),
    (ErdosRenyiNull(), "-"),
]


def rows(options: Options) -> list[Row]:
    """500 samples of each kind for a network of 1,000 links."""
    return [measured(*case, options) for case in CASES]


def measured(kind: NullKind, target: str, options: Options) -> Row:
    """The time of one null model."""
    nodes, links, samples = (20, 100, 5) if options.quick else (150, 1_000, 500)
    w = graph(nodes, links)
    target = "-" if options.quick else target
    run = {"ours": lambda: null_model(w, kind=kind, n=samples)}
    return row(f"{samples} x {kind}", w, run, target=target, options=options)
