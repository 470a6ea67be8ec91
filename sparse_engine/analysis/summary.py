"""The figures that sum up a graph."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components

from sparse_engine.analysis.degrees import reciprocity
from sparse_engine.analysis.graph import GraphLike, as_csr
from sparse_engine.analysis.small_world import small_world
from sparse_engine.analysis.spectrum import spectral_radius

# Distances of a large graph are from as few nodes as keep to so many steps along links, or 16.
STEPS = 10**8


@dataclass(frozen=True)
class Structure:
    """Size, connectedness and spectrum of a graph; ratios over nothing are nan.

    Attributes:
        nodes: how many.
        links: how many, self-loops included.
        self_loops: how many.
        density: links over ``nodes ** 2``.
        positive: the share of the links with a positive value.
        reciprocity: see :func:`~sparse_engine.analysis.reciprocity`.
        clustering: see :class:`~sparse_engine.analysis.SmallWorld`, as the next two.
        path_length: mean distance.
        sigma: small-worldness.
        weak_components: connected components with links taken as undirected, lone nodes included.
        strong_components: sets of nodes that reach each other.
        largest_strong: nodes of the largest of these.
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
        """For JSON: None for what is not finite."""
        return {k: x if math.isfinite(x) else None for k, x in asdict(self).items()}

    def __str__(self) -> str:
        rows = ((name.replace("_", " "), x) for name, x in self.to_dict().items())
        return "\n".join(
            f"{name:24}{'-' if x is None else f'{x:,}' if isinstance(x, int) else f'{x:.4g}':>12}"
            for name, x in rows
        )


def structure(w: GraphLike) -> Structure:
    """The figures of a graph.

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
    return Structure(
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
