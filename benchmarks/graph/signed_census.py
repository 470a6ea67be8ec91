"""What the signed census of a large graph costs, in time and in memory."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.sparse import load_npz, save_npz

from benchmarks._harness import Options
from benchmarks._memory import extra_bytes, in_new_process
from benchmarks._report import Row
from benchmarks.graph.case import graph, row
from sparse_engine.analysis import signed_triad_census

CASES = [(139_000, 2_700_000, "at most 1 s"), (139_000, 15_000_000, "at most 10 s")]
QUICK = [(20, 100, "-")]
TAIL = 0.6


def rows(options: Options) -> list[Row]:
    """Heavy-tailed graphs; memory is what is added to them, at most 3 x the graph."""
    return [measured(*case, options) for case in (QUICK if options.quick else CASES)]


def measured(nodes: int, links: int, target: str, options: Options) -> Row:
    """The time of one, and its memory."""
    w = graph(nodes, links, tail=TAIL)
    run = {"ours": lambda: signed_triad_census(w)}
    with TemporaryDirectory() as folder:
        file = Path(folder, "graph.npz")
        w.indices, w.indptr = w.indices.astype(np.int32), w.indptr.astype(np.int32)
        save_npz(file, w.astype(np.float32), compressed=False)
        extra = in_new_process(memory, file)
    return {**row("signed census", w, run, target=target, options=options), "x CSR": extra}


def memory(file: Path) -> float | None:
    """Of the census of a graph that was only read, in units of the memory of its arrays."""
    w = load_npz(file)
    extra = extra_bytes(lambda: signed_triad_census(w))
    held = w.data.nbytes + w.indices.nbytes + w.indptr.nbytes
    return None if extra is None else extra / held
