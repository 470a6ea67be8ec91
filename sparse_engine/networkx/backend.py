"""Functions of networkx on CSR, which the entry point ``networkx.backends`` names.

networkx converts a graph by :func:`convert_from_nx` at the first call, keeps the result with the
graph until the graph changes, and asks :func:`can_run` and :func:`should_run` before each call.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from sparse_engine import analysis
from sparse_engine.extras import extra
from sparse_engine.networkx import FUNCTIONS

with extra("analysis"):
    import networkx as nx
    from scipy.sparse import csr_array

#: Functions of directed graphs; the others are of undirected ones.
DIRECTED = FUNCTIONS.keys() - {"transitivity"}
#: Number of links from which a conversion and a call are faster than networkx.
WORTH = 100


class LinkGraph:
    """Graph of networkx as CSR: its structure, without attributes of nodes and edges.

    Attributes:
        nodes: the nodes in the graph's order.
        directed: whether the graph is directed; an undirected edge is stored in both directions.
        rows: ``[nodes + 1]``, the first link of each node in ``targets``.
        targets: int64 ``[links]``, the unit to which each link runs.
    """

    __networkx_backend__ = "sparse_engine"

    def __init__(
        self, nodes: list[Hashable], directed: bool, rows: np.ndarray, targets: np.ndarray
    ) -> None:
        self.nodes, self.directed, self.rows, self.targets = nodes, directed, rows, targets

    def is_directed(self) -> bool:
        """Tell whether the graph is directed."""
        return self.directed

    def is_multigraph(self) -> bool:
        """Return False: there are no parallel edges."""
        return False

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def links(self) -> csr_array:
        """The links without self-loops; entry ``[i, j]`` is the one from node j to node i."""
        count = len(self.nodes)
        sources = np.repeat(np.arange(count), np.diff(self.rows))
        loop = self.targets == sources
        ones = np.ones(int((~loop).sum()))
        return csr_array((ones, (self.targets[~loop], sources[~loop])), shape=(count, count))


def convert_from_nx(graph: nx.Graph, **_: Any) -> LinkGraph:
    """Return a graph of networkx as CSR."""
    if graph.is_multigraph():
        raise nx.NetworkXNotImplemented("expected a graph without parallel edges, found some")
    nodes = list(graph)
    unit = dict(zip(nodes, range(len(nodes)), strict=True))
    neighbours = [graph.adj[node] for node in nodes] if _is_view(graph) else graph._adj.values()
    lengths = np.fromiter(map(len, neighbours), np.int64, len(nodes))
    rows = np.concatenate([[0], lengths.cumsum()])
    ends = map(unit.__getitem__, chain.from_iterable(neighbours))
    return LinkGraph(nodes, graph.is_directed(), rows, np.fromiter(ends, np.int64, int(rows[-1])))


def convert_to_nx(result: Any, **_: Any) -> Any:
    """Return a result as networkx has it: a graph as a networkx graph, anything else as it is."""
    if not isinstance(result, LinkGraph):
        return result
    graph = nx.DiGraph() if result.directed else nx.Graph()
    graph.add_nodes_from(result.nodes)
    sources = np.repeat(np.arange(len(result)), np.diff(result.rows)).tolist()
    nodes = result.nodes
    graph.add_edges_from(
        (nodes[source], nodes[target])
        for source, target in zip(sources, result.targets.tolist(), strict=True)
    )
    return graph


def can_run(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> bool | str:
    """Tell whether the backend has a function for these arguments, or why it has not."""
    graph = arguments[0] if arguments else keywords.get("G")
    subset = [*arguments[1:], *(keywords.get(each) for each in ("nodes", "nodelist"))]
    if any(each is not None for each in subset):
        return "expected the whole graph, found a choice of nodes"
    if graph is None or graph.is_multigraph():
        return "expected a graph without parallel edges"
    if graph.is_directed() != (name in DIRECTED):
        return f"expected {'a directed' if name in DIRECTED else 'an undirected'} graph"
    return True


def should_run(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> bool | str:
    """Tell whether a call is likely faster than networkx's, or why it is not."""
    graph = arguments[0] if arguments else keywords["G"]
    if isinstance(graph, LinkGraph) or graph.number_of_edges() >= WORTH:
        return True
    return f"expected at least {WORTH} edges"


def triadic_census(G: LinkGraph, nodelist: Collection[Hashable] | None = None) -> dict[str, int]:
    """Return what ``networkx.triadic_census`` returns: the number of triads of each of 16 types."""
    _check(G, nodelist, directed=True)
    return analysis.triad_census(G.links)


def overall_reciprocity(G: LinkGraph) -> float:
    """Return ``networkx.overall_reciprocity``: the fraction of links with a reverse."""
    _check(G, None, directed=True)
    if not len(G.targets):
        raise nx.NetworkXError("Not defined for empty graphs")
    mutual = (G.links * G.links.T).nnz
    return mutual / len(G.targets)


def reciprocity(G: LinkGraph, nodes: Collection[Hashable] | None = None) -> float:
    """Return what ``networkx.reciprocity`` returns for a whole graph."""
    _check(G, nodes, directed=True)
    return overall_reciprocity(G)


def transitivity(G: LinkGraph) -> float:
    """Return what ``networkx.transitivity`` returns: three times triangles, over pairs of edges."""
    _check(G, None, directed=False)
    triangles = analysis.triad_census(G.links)["300"] if len(G) > 2 else 0
    degrees = np.diff(G.links.indptr).astype(np.int64)
    return 6 * triangles / int((degrees * (degrees - 1)).sum()) if triangles else 0


def _check(graph: LinkGraph, nodes: object, *, directed: bool) -> None:
    if graph.directed != directed:
        kind = "undirected" if directed else "directed"
        raise nx.NetworkXNotImplemented(f"not implemented for {kind} type")
    if nodes is not None:
        raise NotImplementedError("expected the whole graph, found a choice of nodes")


def _is_view(graph: nx.Graph) -> bool:
    """Tell whether a graph shows a part of another one, without a dictionary of its own."""
    return not isinstance(graph._adj, dict)
