"""Degrees of nodes, and reciprocity of links."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparse_engine.analysis.graph import GraphLike, as_csr


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

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
    """
    csr = as_csr(w)
    out = np.bincount(csr.indices, minlength=csr.shape[0])
    return DegreeDistribution(np.bincount(np.diff(csr.indptr)), np.bincount(out))


def reciprocity(w: GraphLike) -> float:
    """Return the fraction of links that have a link in return; nan without links.

    Equals ``networkx.overall_reciprocity`` of the graph without its self-loops.

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
    """
    csr = as_csr(w)
    pattern = csr.astype(bool)
    pattern.data[:] = True
    loops = int(pattern.diagonal().sum())
    links = csr.nnz - loops
    return (pattern.multiply(pattern.T).nnz - loops) / links if links else float("nan")
