"""Semicycles of each type of triad, from which balance is computed."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np

from sparse_engine.analysis._triads import CODES
from sparse_engine.analysis.motifs import ENDS, PRESENT, SIGNS, class_of, types

#: Classes whose semicycles count for the balance, by networkx's names.
BALANCE_CLASSES = ("030T", "120D", "120U", "300")

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
