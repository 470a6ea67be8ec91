"""Participation of links and nodes in balanced and unbalanced semicycles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparse_engine.analysis.graph import GraphLike, as_csr, native, threads
from sparse_engine.analysis.motifs import class_of, types
from sparse_engine.analysis.semicycles import BALANCE_CLASSES, of_links


class Participation(NamedTuple):
    """Numbers of balanced and of all semicycles through each link and node.

    Attributes:
        links: int64 ``[nnz, 2]``, in row-major order of the links.
        nodes: int64 ``[n, 2]``.
    """

    links: np.ndarray
    nodes: np.ndarray


def participation(w: GraphLike, *, every_class: bool = False) -> Participation:
    """Count the semicycles of :func:`structural_balance` through each link and node.

    The counts of the links sum to three times the number of semicycles, and so do those of nodes.

    Args:
        w: a graph, see :func:`~sparse_engine.analysis.graph.as_csr`.
        every_class: whether to count the semicycles of 120C and 210, too, as
            ``BalanceReport.transitive`` does.

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
    """
    csr = as_csr(w)
    inside = every_class | np.isin(class_of()[types().of_code], BALANCE_CLASSES)
    table = of_links() * inside[:, None, None]
    links = native(csr).sums(table, threads())
    nodes = np.zeros((csr.shape[0], 2), np.int64)
    coo = csr.tocoo()
    for ends in (coo.row, coo.col):
        np.add.at(nodes, ends, links)
    # Every semicycle through a node has two links at the node.
    return Participation(links, nodes // 2)
