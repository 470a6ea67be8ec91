"""Conversion from and to networkx's directed graphs: the edge from j to i is ``W[i, j]``."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import torch

from sparse_engine.extras import extra
from sparse_engine.nn import SparseWeight

if TYPE_CHECKING:
    import networkx as nx


def from_networkx(
    graph: nx.DiGraph,
    *,
    weight: str = "weight",
    nodes: Sequence[Hashable] | None = None,
    dtype: torch.dtype | None = None,
) -> SparseWeight:
    """Return the square weight of a directed graph.

    Args:
        graph: edges run from source to target; nodes without edges are kept.
        weight: the edge attribute that holds the value; an edge without it has 1.
        nodes: the node of each unit, in order; the graph's own order by default.
        dtype: dtype of the values; torch's default dtype by default.

    Raises:
        TypeError: an undirected graph or one with parallel edges.
        ValueError: ``nodes`` is not the graph's nodes, each once.

    Example:
        >>> import networkx
        >>> from_networkx(networkx.DiGraph([(0, 1), (1, 2)])).to_dense().tolist()
        [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if not graph.is_directed() or graph.is_multigraph():
        raise TypeError(
            f"expected a networkx.DiGraph, found {type(graph).__name__}; convert it, so that it "
            "is clear what happens to its edges"
        )
    order = list(graph if nodes is None else nodes)
    unit = {node: index for index, node in enumerate(order)}
    if len(unit) != len(order) or unit.keys() != set(graph):
        raise ValueError(
            f"expected each of the graph's {len(graph)} nodes once, found {len(order)} nodes, "
            f"{len(unit.keys() & set(graph))} of them in the graph"
        )
    edges = list(graph.edges(data=weight, default=1.0))
    ends = [(unit[target], unit[source]) for source, target, _ in edges]
    rows, cols = torch.tensor(ends, dtype=torch.int64, device="cpu").reshape(-1, 2).T
    dtype = dtype or torch.get_default_dtype()
    values = torch.tensor([value for *_, value in edges], dtype=dtype, device="cpu")
    return SparseWeight.from_coo(rows, cols, values, (len(order), len(order)))


def to_networkx(weight: SparseWeight, *, attribute: str = "weight") -> nx.DiGraph:
    """Return a DiGraph with the nodes 0 to n - 1 and an edge for each link.

    Raises:
        ImportError: networkx is not installed.
        ValueError: the weight is not square, so that its rows and columns are different units.

    Example:
        >>> to_networkx(model.weight).number_of_edges() == model.weight.nnz
        True
    """
    out_features, in_features = weight.shape
    if out_features != in_features:
        raise ValueError(
            f"expected a square weight, found {out_features} x {in_features}: a graph has one set "
            "of nodes"
        )
    with extra("analysis"):
        import networkx as nx
    graph = nx.DiGraph()
    graph.add_nodes_from(range(out_features))
    sources, targets = weight.col_indices.tolist(), weight.rows().tolist()
    graph.add_weighted_edges_from(
        zip(sources, targets, weight.values.tolist(), strict=True), weight=attribute
    )
    return graph
