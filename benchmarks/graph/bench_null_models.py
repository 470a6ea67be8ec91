"""Time of drawing and counting null models."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks._single import measured
from benchmarks.graph.case import graph
from sparse_engine.analysis import (
    DegreePreserving,
    ErdosRenyiNull,
    NullKind,
    SignShuffle,
    null_model,
)

KINDS = [
    SignShuffle(),
    DegreePreserving(),
    DegreePreserving(keep_mutual=True),
    ErdosRenyiNull(),
]
# Nodes, links, and samples.
CASES = [(150, 1_000, 500)]
QUICK = [(20, 100, 5)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_null_model(
    benchmark: BenchmarkFixture, case: tuple[int, int, int], kind: NullKind
) -> None:
    """So many samples of a kind."""
    nodes, links, samples = case
    w = graph(nodes, links)
    target = "at most 100 ms" if isinstance(kind, SignShuffle) else None
    measured(
        benchmark,
        lambda: null_model(w, kind=kind, n=samples),
        f"{samples} x {kind}",
        target=target,
    )
