"""Time of the triad census, against networkx and igraph."""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.sparse import csr_array

from benchmarks._single import measured
from benchmarks.graph.case import graph
from sparse_engine.analysis import triad_census


def networkx_census(w: csr_array) -> Callable[[], list[int]]:
    """Return the census by the peer that everyone has."""
    peer = nx.from_scipy_sparse_array(w.T, create_using=nx.DiGraph)
    return lambda: [*nx.triadic_census(peer).values()]


def igraph_census(w: csr_array) -> Callable[[], list[int]]:
    """Return the census by the fastest peer, an optional one."""
    igraph = pytest.importorskip("igraph")

    coo = w.tocoo()
    links = np.stack([coo.col, coo.row], axis=1)[coo.col != coo.row]
    peer = igraph.Graph(n=w.shape[0], edges=links.tolist(), directed=True)
    return lambda: [*peer.triad_census()]


PEERS = {"networkx": networkx_census, "igraph": igraph_census}
CASES = [
    (2_000, 20_000, "networkx", "100 x networkx"),
    (20_000, 200_000, "networkx", "100 x networkx"),
    (100_000, 1_000_000, "igraph", "5 x igraph"),
]
QUICK = [(20, 100, "networkx", "-")]


@pytest.mark.parametrize("by", ["sparse_engine", "peer"])
def test_census(benchmark: BenchmarkFixture, case: tuple[int, int, str, str], by: str) -> None:
    """The census, and the same by a peer after a look that both find the same."""
    nodes, links, peer, target = case
    w = graph(nodes, links)
    if by == "sparse_engine":
        run, facts = lambda: triad_census(w), {"target": target}
    else:
        run, facts = PEERS[peer](w), {"peer": peer}
        if run() != [*triad_census(w).values()]:
            raise AssertionError(f"expected the census of {peer}, found another")
    measured(benchmark, run, f"census, {links} links", **facts)
