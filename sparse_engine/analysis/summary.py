"""Summary of a graph in a few numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components

from sparse_engine.analysis.degrees import reciprocity
from sparse_engine.analysis.graph import GraphLike, as_csr
from sparse_engine.analysis.small_world import small_world
from sparse_engine.analysis.spectrum import spectral_radius

# Paths of a large graph start at so few nodes that they follow at most this many links, or at 16.
STEPS = 10**8


@dataclass(frozen=True)
class GraphSummary:
    """Size, connectedness and spectrum of a graph; ratios of 0 to 0 are nan.

    Attributes:
        nodes: number of nodes.
        links: number of links, self-loops included.
        self_loops: number of links from a node to itself.
        density: ``links / nodes ** 2``.
        positive: fraction of the links with a positive value.
        reciprocity: see :func:`~sparse_engine.analysis.reciprocity`.
        clustering: see :class:`~sparse_engine.analysis.small_world.SmallWorld`.
        path_length: mean distance, see :class:`~sparse_engine.analysis.small_world.SmallWorld`.
        sigma: small-worldness, see :class:`~sparse_engine.analysis.small_world.SmallWorld`.
        weak_components: number of connected components of the undirected graph.
        strong_components: number of maximal sets of nodes that all reach each other.
        largest_strong: number of nodes in the largest of these sets.
        spectral_radius: see :func:`~sparse_engine.analysis.spectral_radius`.
    """

    nodes: int
    links: int
    self_loops: int
    density: float
    positive: float
    reciprocity: float
    clustering: float
    path_length: float
    sigma: float
    weak_components: int
    strong_components: int
    largest_strong: int
    spectral_radius: float

    def to_dict(self) -> dict[str, float | None]:
        """Return the numbers for JSON, with None for those that are not finite."""
        return {k: x if math.isfinite(x) else None for k, x in asdict(self).items()}

    def __str__(self) -> str:
        rows = ((name.replace("_", " "), x) for name, x in self.to_dict().items())
        return "\n".join(
            f"{name:24}{'-' if x is None else f'{x:,}' if isinstance(x, int) else f'{x:.4g}':>12}"
            for name, x in rows
        )


def summarize(w: GraphLike) -> GraphSummary:
    """Return size, connectedness and spectrum of a graph.

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
        scipy.sparse.linalg.ArpackNoConvergence: see :func:`spectral_radius`.
    """
    csr = as_csr(w)
    pattern = csr.astype(np.float64)
    pattern.data[:] = 1
    world = small_world(csr, sources=min(1024, max(16, STEPS // max(1, csr.nnz))))
    weak, _ = connected_components(pattern, connection="weak")
    strong, labels = connected_components(pattern, connection="strong")
    n, links = csr.shape[0], csr.nnz
    return GraphSummary(
        nodes=n,
        links=links,
        self_loops=int(pattern.diagonal().sum()),
        density=links / n**2 if n else math.nan,
        positive=float((csr.data > 0).mean()) if links else math.nan,
        reciprocity=reciprocity(csr),
        clustering=world.clustering,
        path_length=world.path_length,
        sigma=world.sigma,
        weak_components=int(weak),
        strong_components=int(strong),
        largest_strong=int(np.bincount(labels).max(initial=0)),
        spectral_radius=spectral_radius(csr),
    )
