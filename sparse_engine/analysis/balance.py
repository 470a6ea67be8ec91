"""Structural balance of a graph, and the semicycles through each link and node."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

from sparse_engine.analysis._triads import CODES
from sparse_engine.analysis.graph import GraphLike, as_csr, native, threads
from sparse_engine.analysis.motifs import ENDS, PRESENT, SIGNS, by_type, class_of, types

#: Classes whose semicycles count for the balance, by networkx's names.
BALANCE_CLASSES = ("030T", "120D", "120U", "300")

#: Balances of a graph, see :class:`BalanceReport`.
RATIOS = ("class_mean", "pooled", "triad_level")

#: Choices of one link for each pair of nodes that do not run in a circle.
TRANSITIVE = [
    links
    for links in product((0, 1), (2, 3), (4, 5))
    if len({ENDS[link][0] for link in links}) == 2
]


@cache
def of_links() -> np.ndarray:
    """Count balanced and all semicycles through each link of a code, int64 ``[CODES, 6, 2]``."""
    counts = np.zeros((CODES, 6, 2), np.int64)
    for links in map(list, TRANSITIVE):
        counts[:, links, 0] += SIGNS[:, links].prod(1, keepdims=True) > 0
        counts[:, links, 1] += PRESENT[:, links].all(1, keepdims=True)
    return counts


@cache
def of_types() -> np.ndarray:
    """Count balanced and all semicycles of each type of triad, int64 ``[types, 2]``."""
    names, of_code = types()
    counts = np.empty((len(names), 2), np.int64)
    counts[of_code] = of_links().sum(1) // 3
    return counts


@cache
def _balance_table() -> np.ndarray:
    balanced, total = of_types().T
    inside = class_of()[:, None] == np.array(BALANCE_CLASSES)
    columns = np.stack([balanced, total, balanced == total, np.ones_like(total)], axis=-1)
    return inside[:, :, None] * columns[:, None, :]


def balance_counts(counts: np.ndarray) -> np.ndarray:
    """Count balanced semicycles, semicycles, balanced triads and triads of each class.

    A triad is balanced if all of its semicycles are.

    Args:
        counts: int64 ``[..., types]``, number of triads of each type.

    Returns:
        int64 ``[..., 4, 4]``, by class in the order of :data:`BALANCE_CLASSES`, then by these four
        counts.
    """
    inside = np.isin(class_of(), BALANCE_CLASSES)
    return np.tensordot(counts[..., inside], _balance_table()[inside], 1)


def ratios(counts: np.ndarray, *, skip_unbalanced_classes: bool = False) -> dict[str, np.ndarray]:
    """Return the balanced fractions by name, float64 ``[...]``; ratios of 0 to 0 are nan.

    Args:
        counts: counts of :func:`balance_counts`.
        skip_unbalanced_classes: whether the class mean leaves out classes without balanced
            semicycles.
    """
    balanced, total, balanced_triads, triads = np.moveaxis(counts, -1, 0)
    with np.errstate(invalid="ignore"):
        by_class = balanced / total
        counted = balanced > 0 if skip_unbalanced_classes else total > 0
        return {
            "class_mean": np.where(counted, by_class, 0).sum(-1) / counted.sum(-1),
            "pooled": balanced.sum(-1) / total.sum(-1),
            "triad_level": balanced_triads.sum(-1) / triads.sum(-1),
            **dict(zip(BALANCE_CLASSES, np.moveaxis(by_class, -1, 0), strict=True)),
        }


@dataclass(frozen=True)
class BalanceReport:
    """Structural balance of a graph. Ratios of 0 to 0 are nan.

    Attributes:
        classes: numbers of balanced and of all semicycles in the triads of each class.
        class_mean: mean of the balanced fractions of the four classes, with equal weights.
        pooled: balanced fraction of the semicycles of all four classes.
        triad_level: fraction of the triads of these classes whose semicycles are all balanced.
        triads: numbers of such balanced triads, and of all triads of the four classes.
        transitive: numbers of balanced and of all semicycles, those of classes 120C and 210
            included.
    """

    classes: dict[str, tuple[int, int]]
    class_mean: float
    pooled: float
    triad_level: float
    triads: tuple[int, int]
    transitive: tuple[int, int]

    def to_dict(self) -> dict[str, object]:
        """Return the report for JSON, with lists for tuples and None for nan."""
        shares = {name: getattr(self, name) for name in RATIOS}
        return {
            "classes": {name: [*counts] for name, counts in self.classes.items()},
            **{name: None if math.isnan(share) else share for name, share in shares.items()},
            "triads": [*self.triads],
            "transitive": [*self.transitive],
        }


def structural_balance(w: GraphLike, *, skip_unbalanced_classes: bool = False) -> BalanceReport:
    """Count the balanced semicycles of a signed directed graph.

    A semicycle takes one link between each two of three nodes, such that the links do not run in a
    circle. It is balanced if the product of its three values is positive, so never where a value is
    0. Let A be the pattern of the links without a link in return, and M that of the others. Class
    030T then has ``((A @ A) * A).sum()`` semicycles, 120D ``((A @ M) * A).sum()``, 120U
    ``((M @ A) * A).sum()`` and 300 ``((M @ M) * M).sum()``. Self-loops are left out. See Zhang et
    al., "Universal structural patterns in sparse recurrent neural networks", 2023.

    Args:
        w: a graph, see :func:`~sparse_engine.analysis.graph.as_csr`.
        skip_unbalanced_classes: whether the class mean leaves out classes without any balanced
            semicycle, as the paper's program does; by default it leaves out only classes without
            semicycles. (The program also drops nodes of degree 1, which are in no semicycle.)

    Returns:
        The counts and ratios; counts are exact for any number of threads.

    Example:
        >>> structural_balance(abs(signed_network(100, 0.1))).class_mean
        1.0
    """
    triads_of_type = by_type(native(as_csr(w)).count(threads()))
    counts = balance_counts(triads_of_type)
    shares = ratios(counts, skip_unbalanced_classes=skip_unbalanced_classes)
    balanced, total, balanced_triads, triads = counts.T.tolist()
    transitive, every = (triads_of_type @ of_types()).tolist()
    return BalanceReport(
        classes=dict(zip(BALANCE_CLASSES, zip(balanced, total, strict=True), strict=True)),
        class_mean=float(shares["class_mean"]),
        pooled=float(shares["pooled"]),
        triad_level=float(shares["triad_level"]),
        triads=(sum(balanced_triads), sum(triads)),
        transitive=(transitive, every),
    )


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

    Example:
        >>> through = participation(signed_network(40, 0.1))
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
