"""Which links and nodes the balanced and the unbalanced semicycles go through."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparse_engine.analysis.graph import GraphLike, as_csr, native, threads
from sparse_engine.analysis.motifs import class_of, types
from sparse_engine.analysis.semicycles import BALANCE_CLASSES, of_links


class Participation(NamedTuple):
    """Balanced and all semicycles through each link and node.

    Attributes:
        links: int64 ``[nnz, 2]``, in row-major order of the links.
        nodes: int64 ``[n, 2]``.
    """

    links: np.ndarray
    nodes: np.ndarray


def participation(w: GraphLike, *, every_class: bool = False) -> Participation:
    """Counts the semicycles of :func:`structural_balance` where they are.

    The links' columns sum to three times the semicycles, and so do the nodes'.

    Args:
        w: whatever :func:`~sparse_engine.analysis.graph.as_csr` takes.
        every_class: also the semicycles of 120C and 210, ``BalanceReport.transitive``.

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
    # A semicycle through a node has two of its links there.
    return Participation(links, nodes // 2)
