"""What the census costs, against networkx and igraph."""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import numpy as np
from scipy.sparse import csr_array

from benchmarks._harness import Options
from benchmarks._report import Row
from benchmarks.graph.case import graph, row
from sparse_engine.analysis import triad_census


def networkx_census(w: csr_array) -> Callable[[], list[int]]:
    """The peer that everyone has."""
    peer = nx.from_scipy_sparse_array(w.T, create_using=nx.DiGraph)
    return lambda: [*nx.triadic_census(peer).values()]


def igraph_census(w: csr_array) -> Callable[[], list[int]]:
    """The fastest peer; an optional one."""
    import igraph

    coo = w.tocoo()
    links = np.stack([coo.col, coo.row], axis=1)[coo.col != coo.row]
    peer = igraph.Graph(n=w.shape[0], edges=links.tolist(), directed=True)
    return lambda: [*peer.triad_census()]


CASES = [
    (2_000, 20_000, networkx_census, "100 x networkx"),
    (20_000, 200_000, networkx_census, "100 x networkx"),
    (100_000, 1_000_000, igraph_census, "5 x igraph"),
]
QUICK = [(20, 100, networkx_census, "-")]


def rows(options: Options) -> list[Row]:
    """The time of the census, and of the same by a peer, where that is installed."""
    return [measured(*case, options) for case in (QUICK if options.quick else CASES)]


def measured(nodes: int, links: int, peer: Callable, target: str, options: Options) -> Row:
    """The time of one, after a look that both find the same."""
    w = graph(nodes, links)
    runs: dict[str, Callable[[], object]] = {"ours": lambda: triad_census(w)}
    try:
        runs[peer.__name__.removesuffix("_census")] = theirs = peer(w)
    except ImportError:
        return row("census", w, runs, target=target, options=options)
    if theirs() != [*triad_census(w).values()]:
        raise AssertionError(f"expected the census of {target}, found another")
    return row("census", w, runs, target=target, options=options)
