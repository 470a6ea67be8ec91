"""How large the values of links are, in balanced semicycles and in others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparse_engine.analysis.graph import GraphLike, as_csr
from sparse_engine.analysis.participation import participation


class WeightDistribution(NamedTuple):
    """How many links have a value in each bin.

    Attributes:
        edges: float64 ``[bins + 1]``, of the bins; symmetric about 0.
        every: int64 ``[bins]``, of all links.
        balanced: of the links in at least one balanced semicycle.
        unbalanced: of the links in at least one other; a link may be in both.
    """

    edges: np.ndarray
    every: np.ndarray
    balanced: np.ndarray
    unbalanced: np.ndarray


def weight_distribution(w: GraphLike, *, bins: int = 74) -> WeightDistribution:
    """Histograms of the links' values, with semicycles as in ``structural_balance``.

    Args:
        w: whatever :func:`~sparse_engine.analysis.graph.as_csr` takes.
        bins: of equal width, from the largest magnitude below 0 to that above.

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
