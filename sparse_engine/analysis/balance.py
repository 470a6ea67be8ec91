"""Structural balance of a graph, and the semicycles through each link and node."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sparse_engine.analysis import semicycles
from sparse_engine.analysis.graph import GraphLike, as_csr, native, threads
from sparse_engine.analysis.motifs import by_type, class_of, types
from sparse_engine.analysis.semicycles import BALANCE_CLASSES, of_links


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
        ratios = {name: getattr(self, name) for name in ("class_mean", "pooled", "triad_level")}
        return {
            "classes": {name: [*counts] for name, counts in self.classes.items()},
            **{name: None if math.isnan(ratio) else ratio for name, ratio in ratios.items()},
            "triads": [*self.triads],
            "transitive": [*self.transitive],
        }

    def __str__(self) -> str:
        pooled = [sum(counts) for counts in zip(*self.classes.values(), strict=True)]
        lines = [
            _line(name, balanced, total, balanced / total if total else math.nan)
            for name, (balanced, total) in self.classes.items()
        ]
        return "\n".join(
            [
                f"{'class':12}{'balanced':>12}{'semicycles':>12}{'ratio':>12}",
                *lines,
                _line("pooled", pooled[0], pooled[1], self.pooled),
                _line("whole triads", *self.triads, self.triad_level),
                f"{'class mean':36}{_shown(self.class_mean)}",
            ]
        )


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

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
    """
    triads_of_type = by_type(native(as_csr(w)).count(threads()))
    counts = semicycles.balance_counts(triads_of_type)
    ratios = semicycles.ratios(counts, skip_unbalanced_classes=skip_unbalanced_classes)
    balanced, total, balanced_triads, triads = counts.T.tolist()
    transitive, every = (triads_of_type @ semicycles.of_types()).tolist()
    return BalanceReport(
        classes={
            name: (balanced[k], total[k]) for k, name in enumerate(semicycles.BALANCE_CLASSES)
        },
        class_mean=float(ratios["class_mean"]),
        pooled=float(ratios["pooled"]),
        triad_level=float(ratios["triad_level"]),
        triads=(sum(balanced_triads), sum(triads)),
        transitive=(transitive, every),
    )


def _line(name: str, balanced: int, total: int, ratio: float) -> str:
    return f"{name:12}{balanced:12,}{total:12,}{_shown(ratio)}"


def _shown(ratio: float) -> str:
    return f"{'-' if math.isnan(ratio) else format(ratio, '.6f'):>12}"


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
