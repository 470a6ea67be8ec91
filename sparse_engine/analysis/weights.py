"""Distribution of the values of links, in balanced and in unbalanced semicycles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparse_engine.analysis.graph import GraphLike, as_csr
from sparse_engine.analysis.participation import participation


class WeightDistribution(NamedTuple):
    """Histograms of the values of links.

    Attributes:
        edges: float64 ``[bins + 1]``, edges of the bins, symmetric about 0.
        every: int64 ``[bins]``, number of links.
        balanced: int64 ``[bins]``, number of links in at least one balanced semicycle.
        unbalanced: int64 ``[bins]``, number of links in at least one unbalanced semicycle.
    """

    edges: np.ndarray
    every: np.ndarray
    balanced: np.ndarray
    unbalanced: np.ndarray


def weight_distribution(w: GraphLike, *, bins: int = 74) -> WeightDistribution:
    """Count the values of links in bins, with semicycles as in ``structural_balance``.

    Args:
        w: a graph, see :func:`~sparse_engine.analysis.graph.as_csr`.
        bins: number of bins of equal width, from minus to plus the largest magnitude.

    Raises:
        TypeError: not a graph.
        ValueError: not square, not a valid matrix or file, or ``bins`` is less than 1.
    """
    if bins < 1:
        raise ValueError(f"expected bins of at least 1, found {bins}")
    csr = as_csr(w)
    most = float(np.abs(csr.data).max(initial=0)) or 1.0
    balanced, total = participation(csr).links.T
    edges = np.linspace(-most, most, bins + 1)
    chosen = (np.ones(csr.nnz, bool), balanced > 0, total > balanced)
    counts = (np.histogram(csr.data[which], edges)[0] for which in chosen)
    return WeightDistribution(edges, *counts)
