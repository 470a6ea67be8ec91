"""Distributions over nodes and links: degrees, reciprocity, strength of inputs, weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparse_engine.analysis.balance import participation
from sparse_engine.analysis.graph import GraphLike, WeightLike, as_csr, as_matrix


class DegreeDistribution(NamedTuple):
    """Numbers of nodes that have 0, 1, 2, ... links; a self-loop is a link in and a link out.

    Attributes:
        into: int64, number of nodes by the number of links into them.
        out: int64, number of nodes by the number of links out of them.
    """

    into: np.ndarray
    out: np.ndarray


def degree_distribution(w: GraphLike) -> DegreeDistribution:
    """Count the nodes with each number of links in, and with each number of links out.

    Example:
        >>> degrees = degree_distribution(signed_network(40, 0.1))
    """
    csr = as_csr(w)
    out = np.bincount(csr.indices, minlength=csr.shape[0])
    return DegreeDistribution(np.bincount(np.diff(csr.indptr)), np.bincount(out))


def reciprocity(w: GraphLike) -> float:
    """Return the fraction of links that have a link in return; nan without links.

    Equals ``networkx.overall_reciprocity`` of the graph without its self-loops.

    Example:
        >>> reciprocity(scipy.sparse.csr_array([[0, 1], [1, 0]]))
        1.0
    """
    csr = as_csr(w)
    pattern = csr.astype(bool)
    pattern.data[:] = True
    loops = int(pattern.diagonal().sum())
    links = csr.nnz - loops
    return (pattern.multiply(pattern.T).nnz - loops) / links if links else float("nan")


def input_strength(weight: WeightLike) -> np.ndarray:
    """Return the sum of ``|w|`` over the links out of each input, float64 ``[inputs]``.

    QuickSelection (Atashgahi et al. 2022) takes it as the importance of features, with the first
    weight of a network trained by SET: ``input_strength(w).argsort()[::-1][:k]`` are the k
    strongest inputs.

    Args:
        weight: ``[outputs, inputs]``: a SparseWeight, a SciPy or torch sparse matrix.

    Example:
        >>> input_strength(model.weight).shape
        (6,)
    """
    csr = as_matrix(weight)
    # NumPy counts in integers where there are no links.
    sums = np.bincount(csr.indices, np.abs(csr.data), minlength=csr.shape[1])
    return sums.astype(np.float64, copy=False)


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
        ValueError: ``bins`` is less than 1.

    Example:
        >>> bins = weight_distribution(signed_network(40, 0.1), bins=10)
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
