"""What the signed census of a large graph costs, in time and in memory."""

from __future__ import annotations

from benchmarks._harness import Options
from benchmarks._memory import extra_bytes, in_new_process
from benchmarks._report import Row
from benchmarks.graph.case import graph, row
from sparse_engine.analysis import signed_triad_census

CASES = [(139_000, 2_700_000, "at most 1 s"), (139_000, 15_000_000, "at most 10 s")]
QUICK = [(20, 100, "-")]
TAIL = 0.6


def rows(options: Options) -> list[Row]:
    """Heavy-tailed graphs; memory is what is added to the graph, in units of its arrays."""
    return [measured(*case, options) for case in (QUICK if options.quick else CASES)]


def measured(nodes: int, links: int, target: str, options: Options) -> Row:
    """The time of one, and its memory."""
    w = graph(nodes, links, tail=TAIL)
    run = {"ours": lambda: signed_triad_census(w)}
    return {
        **row("signed census", w, run, target=target, options=options),
        "x CSR": in_new_process(memory, nodes, links),
    }


def memory(nodes: int, links: int) -> float | None:
    """Of the census of a graph whose values are float32 and whose columns int32."""
    w = graph(nodes, links, tail=TAIL)
    w.data, w.indices = w.data.astype("float32"), w.indices.astype("int32")
    w.indptr = w.indptr.astype("int32")
    signed_triad_census(graph(20, 100))
    held = w.data.nbytes + w.indices.nbytes + w.indptr.nbytes
    extra = extra_bytes(lambda: signed_triad_census(w))
    return None if extra is None else extra / held
