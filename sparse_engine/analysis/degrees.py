"""How many links nodes have, and how many of them are returned."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparse_engine.analysis.graph import GraphLike, as_csr


class DegreeDistribution(NamedTuple):
    """How many nodes have 0, 1, 2, ... links; a self-loop is a link in and a link out.

    Attributes:
        into: int64, by the number of links into a node.
        out: int64, by the number of links out of it.
    """

    into: np.ndarray
    out: np.ndarray


def degree_distribution(w: GraphLike) -> DegreeDistribution:
    """The distribution of the nodes' links in and out.

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
    """
    csr = as_csr(w)
    out = np.bincount(csr.indices, minlength=csr.shape[0])
    return DegreeDistribution(np.bincount(np.diff(csr.indptr)), np.bincount(out))


def reciprocity(w: GraphLike) -> float:
    """The share of the links between two nodes that are returned; nan without such links.

    Equals ``networkx.overall_reciprocity`` of the graph without self-loops.

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
