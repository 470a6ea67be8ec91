"""Time and memory of the signed census of a large graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.sparse import load_npz, save_npz

from benchmarks._memory import extra_bytes, in_new_process
from benchmarks._single import measured
from benchmarks.graph.case import graph
from sparse_engine.analysis import signed_triad_census

CASES = [(139_000, 2_700_000, "at most 1 s"), (139_000, 15_000_000, "at most 10 s")]
QUICK = [(20, 100, "-")]
TAIL = 0.6


def test_signed_census(
    benchmark: BenchmarkFixture, case: tuple[int, int, str], tmp_path: Path
) -> None:
    """Heavy-tailed graphs; memory is what is added to them, at most 3 x the graph."""
    nodes, links, target = case
    w = graph(nodes, links, tail=TAIL)
    group = f"signed census, {w.nnz} links"
    measured(benchmark, lambda: signed_triad_census(w), group, target=target)
    file = tmp_path / "graph.npz"
    w.indices, w.indptr = w.indices.astype(np.int32), w.indptr.astype(np.int32)
    save_npz(file, w.astype(np.float32), compressed=False)
    extra = in_new_process(memory, file)
    if extra is not None:
        benchmark.extra_info["x CSR"] = extra


def memory(file: Path) -> float | None:
    """Return that of the census of a graph that was only read, in units of its arrays' memory."""
    w = load_npz(file)
    extra = extra_bytes(lambda: signed_triad_census(w))
    held = w.data.nbytes + w.indices.nbytes + w.indptr.nbytes
    return None if extra is None else extra / held
