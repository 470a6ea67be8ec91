"""Small-world measures: clustering and path lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, shortest_path

from sparse_engine.analysis.census import triad_census
from sparse_engine.analysis.graph import GraphLike, as_csr

# Number of nodes from which distances are computed at once.
AT_ONCE = 64


@dataclass(frozen=True)
class SmallWorld:
    """Small-world measures of the undirected graph; ratios of 0 to 0 are nan.

    Attributes:
        clustering: fraction of the paths of two links that a third link closes,
            ``networkx.transitivity``.
        path_length: mean distance between two nodes of the largest component.
        sigma: ``(clustering / c) / (path_length / l)``, where ``c = k / (n - 1)`` and
            ``l = log(n) / log(k)`` are those of a random graph of n nodes with k neighbours each;
            above 1 in a small world. See Humphries and Gurney, "Network small-world-ness", 2008.
    """

    clustering: float
    path_length: float
    sigma: float


def small_world(w: GraphLike, *, sources: int = 1024, seed: int = 0) -> SmallWorld:
    """Compute clustering and path lengths; signs and self-loops do not matter.

    Args:
        w: a graph, see :func:`~sparse_engine.analysis.graph.as_csr`.
        sources: number of random nodes from which distances are computed; all nodes if there are
            fewer.
        seed: seed of the choice of these nodes.

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file, or ``sources`` is less than 1.
    """
    if sources < 1:
        raise ValueError(f"expected sources of at least 1, found {sources}")
    csr = as_csr(w)
    census = triad_census(csr)
    closed = sum(census[name] for name in ("030T", "030C", "120D", "120U", "120C", "210", "300"))
    open_ = sum(census[name] for name in ("021D", "021U", "021C", "111D", "111U", "201"))
    clustering = _ratio(3 * closed, 3 * closed + open_)

    n = csr.shape[0]
    coo = csr.tocoo()
    proper = coo.row != coo.col
    ends = (coo.row[proper], coo.col[proper])
    links = csr_array((np.ones(len(ends[0])), ends), shape=csr.shape)
    graph = links.maximum(links.T).tocsr()
    path_length = _path_length(graph, sources, np.random.Generator(np.random.Philox(seed)))
    k = _ratio(graph.nnz, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_chance = np.float64(k) / (n - 1), np.log(n) / np.log(k)
        sigma = (clustering / by_chance[0]) / (path_length / by_chance[1])
    return SmallWorld(clustering, path_length, float(sigma))


def _path_length(graph: csr_array, sources: int, rng: np.random.Generator) -> float:
    _, labels = connected_components(graph, directed=False)
    if not len(labels):
        return float("nan")
    inside = np.flatnonzero(labels == np.bincount(labels).argmax())
    chosen = inside if len(inside) <= sources else rng.choice(inside, sources, replace=False)
    total = 0.0
    for first in range(0, len(chosen), AT_ONCE):
        starts = chosen[first : first + AT_ONCE]
        distances = shortest_path(graph, method="D", unweighted=True, indices=starts)
        total += distances[:, inside].sum()
    return _ratio(total, len(chosen) * (len(inside) - 1))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
