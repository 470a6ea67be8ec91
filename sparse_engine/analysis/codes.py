"""What the code of a closed triad says: its class and its semicycles.

Among its nodes u, v, w the links 0 to 5 are u->v, v->u, u->w, w->u, v->w, w->v, and bits 2k and
2k + 1 of the code are the state of link k: 0 for none, 1 positive, 2 negative, 3 zero.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import networkx as nx
import numpy as np

from sparse_engine.analysis._triads import CODES

#: The classes that balance is taken over, by networkx's names.
BALANCE_CLASSES = ("030T", "120D", "120U", "300")

#: Source and target of each link, with u, v, w as 0, 1, 2.
ENDS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1))

#: The links from and to each of the three nodes, by the node at the other end.
LINKS_OUT, LINKS_IN = ((0, 2), (1, 4), (3, 5)), ((1, 3), (0, 5), (2, 4))

STATES = np.arange(CODES)[:, None] >> 2 * np.arange(6) & 3
PRESENT = STATES > 0
SIGNS = np.array([0, 1, -1, 0])[STATES]

#: One link for each pair of nodes, such that they do not run in a circle.
TRANSITIVE = [
    links
    for links in product((0, 1), (2, 3), (4, 5))
    if len({ENDS[link][0] for link in links}) == 2
]


@cache
def class_of() -> np.ndarray:
    """The class of each code by networkx's name, or "" where it is no closed triad."""
    names = []
    for present in product((False, True), repeat=6):
        graph = nx.DiGraph()
        graph.add_nodes_from(range(3))
        graph.add_edges_from(ends for ends, there in zip(ENDS, present, strict=True) if there)
        closed = nx.is_weakly_connected(graph) and graph.to_undirected().number_of_edges() == 3
        census = nx.triadic_census(graph)
        names.append(max(census, key=census.get) if closed else "")
    return np.array(names)[PRESENT @ (1 << np.arange(6)[::-1])]


@cache
def semicycles() -> np.ndarray:
    """Balanced and all semicycles of each code, int64 ``[CODES, 2]``."""
    return semicycles_of_links().sum(1) // 3


@cache
def semicycles_of_links() -> np.ndarray:
    """Balanced and all semicycles that each link of a code is in, int64 ``[CODES, 6, 2]``."""
    counts = np.zeros((CODES, 6, 2), np.int64)
    for links in map(list, TRANSITIVE):
        counts[:, links, 0] += (SIGNS[:, links].prod(1) > 0)[:, None]
        counts[:, links, 1] += PRESENT[:, links].all(1)[:, None]
    return counts


@cache
def corners(one: str, other: str) -> np.ndarray:
    """The nodes of each code that have "to", "from" or "both" to ``one`` and ``other`` of the rest.

    Returns:
        int64 ``[CODES]``.
    """
    to, back = PRESENT[:, list(LINKS_OUT)], PRESENT[:, list(LINKS_IN)]
    kind = {"to": to & ~back, "from": back & ~to, "both": to & back}
    a, b = kind[one], kind[other]
    found = a[..., 0] & b[..., 1] | a[..., 1] & b[..., 0]
    return found.sum(1)


@cache
def _balance_table() -> np.ndarray:
    balanced, total = semicycles().T
    inside = class_of()[:, None] == np.array(BALANCE_CLASSES)
    columns = np.stack([balanced, total, balanced == total, np.ones_like(total)], axis=-1)
    return inside[:, :, None] * columns[:, None, :]


def balance_counts(histogram: np.ndarray) -> np.ndarray:
    """Balanced and all semicycles, and triads whose semicycles are all balanced, and all triads.

    Args:
        histogram: int64 ``[..., CODES]``, triads of each code.

    Returns:
        int64 ``[..., 4, 4]``: by class, as in :data:`BALANCE_CLASSES`, and by these four numbers.
    """
    used = np.flatnonzero(histogram.reshape(-1, CODES).any(0))
    return np.tensordot(histogram[..., used], _balance_table()[used], 1)


def ratios(counts: np.ndarray, *, skip_unbalanced_classes: bool = False) -> dict[str, np.ndarray]:
    """Shares of what is balanced, float64 ``[...]``, nan where there is nothing.

    Args:
        counts: of :func:`balance_counts`.
        skip_unbalanced_classes: leave classes with nothing balanced out of the class mean.
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
