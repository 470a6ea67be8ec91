"""Types of triads with their names, and the census of a graph by them.

A type is a class and the signs of its links, such as "030T:++-". The class is one of the 16 of
``networkx.triadic_census``. Its nodes are called a, b and c, and :data:`LINKS` has the order of its
links. Where the symmetry of a class allows several names, the type has the first of them, with +
before - before 0, a stored zero. There are 138 types without zeros: 96 closed triads, 36 with two
connected pairs of nodes, 5 with one, and "003".
"""

from __future__ import annotations

from functools import cache
from itertools import permutations
from math import comb
from typing import NamedTuple

import numpy as np

from sparse_engine.analysis._triads import CODES
from sparse_engine.analysis.graph import GraphLike, as_csr, native, threads

#: Source and target of each link, with u, v, w as 0, 1, 2.
ENDS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1))

#: State, existence and sign of each link of each code, ``[CODES, 6]``.
STATES = np.arange(CODES)[:, None] >> 2 * np.arange(6) & 3
PRESENT = STATES > 0
SIGNS = np.array([0, 1, -1, 0])[STATES]

#: Links of each class in order: "ab" leads from node a to node b.
LINKS = {
    "003": (),
    "012": ("ab",),
    "102": ("ab", "ba"),
    "021D": ("ab", "ac"),
    "021U": ("ba", "ca"),
    "021C": ("ba", "ac"),
    "111D": ("ab", "ba", "ca"),
    "111U": ("ab", "ba", "ac"),
    "030T": ("ab", "bc", "ac"),
    "030C": ("ab", "bc", "ca"),
    "201": ("ab", "ba", "ac", "ca"),
    "120D": ("ab", "ac", "bc", "cb"),
    "120U": ("ba", "ca", "bc", "cb"),
    "120C": ("ab", "bc", "ac", "ca"),
    "210": ("ab", "bc", "cb", "ac", "ca"),
    "300": ("ab", "ba", "bc", "cb", "ac", "ca"),
}
CLASSES = tuple(LINKS)
#: Classes in which every node has a link.
CONNECTED = CLASSES[3:]


class Types(NamedTuple):
    """All types of triads.

    Attributes:
        names: names in the order of the classes, and within a class in the order of signs.
        of_code: int64 ``[CODES]``, the number in ``names`` of each triad code's type.
    """

    names: tuple[str, ...]
    of_code: np.ndarray


@cache
def types() -> Types:
    """Return the 720 types of triads, with stored zeros as a third sign."""
    # A key holds a class and the states of the links of that class, in two bits each.
    keys = np.full(CODES, np.iinfo(np.int64).max)
    for number, links in enumerate(LINKS.values()):
        digits = 4 ** np.arange(len(links))[::-1]
        for nodes in permutations(range(3)):
            place = dict(zip("abc", nodes, strict=True))
            chosen = [ENDS.index((place[link[0]], place[link[1]])) for link in links]
            fits = PRESENT[:, chosen].all(1) & (PRESENT.sum(1) == len(links))
            key = number * CODES + STATES[fits][:, chosen] @ digits
            keys[fits] = np.minimum(keys[fits], key)
    distinct, of_code = np.unique(keys, return_inverse=True)
    return Types(tuple(map(_name, distinct.tolist())), of_code)


def split(name: str) -> tuple[str, str]:
    """Return the class and the signs of a type."""
    name, _, signs = name.partition(":")
    return name, signs


@cache
def class_of() -> np.ndarray:
    """Return the class of each type."""
    return np.array([split(name)[0] for name in types().names])


def by_type(histogram: np.ndarray) -> np.ndarray:
    """Count triads by type, int64 ``[types]``, from their counts by code."""
    counts = np.zeros(len(types().names), np.int64)
    np.add.at(counts, types().of_code, histogram)
    return counts


def _name(key: int) -> str:
    name = CLASSES[key // CODES]
    signs = [" +-0"[key >> 2 * k & 3] for k in reversed(range(len(LINKS[name])))]
    return f"{name}:{''.join(signs)}" if signs else name


def triad_census(w: GraphLike) -> dict[str, int]:
    """Count the triples of nodes of each of the 16 classes: ``networkx.triadic_census``.

    Signs and self-loops do not matter. Closed triads are counted one by one; the numbers of open
    triads follow from the degrees of the nodes. See Batagelj and Mrvar, "A subquadratic triad
    census algorithm for large sparse networks", 2001.

    Example:
        >>> sum(triad_census(signed_network(40, 0.1)).values()) == 40 * 39 * 38 // 6
        True
    """
    census = dict.fromkeys(CLASSES, 0)
    for name, count in signed_triad_census(w).items():
        census[split(name)[0]] += count
    return census


def signed_triad_census(w: GraphLike) -> dict[str, int]:
    """Count the triples of nodes of each type: class and signs, such as "030T:++-".

    The result has all 138 types without stored zeros, and those types with zeros, a third sign,
    that occur. :mod:`~sparse_engine.analysis.motifs` describes the names. Self-loops do not matter.

    Example:
        >>> len(signed_triad_census(signed_network(40, 0.1)))
        138
    """
    csr = as_csr(w)
    counts = by_type(native(csr).count(threads())).tolist()
    census = {
        name: count
        for name, count in zip(types().names, counts, strict=True)
        if count or "0" not in split(name)[1]
    }
    census["003"] = 0
    census["003"] = comb(csr.shape[0], 3) - sum(census.values())
    return census


def feed_forward_loops(w: GraphLike) -> dict[str, int]:
    """Count the feed-forward loops, triads of class 030T, of each sign pattern.

    A pattern such as "++-" holds the signs of the links from source to mediator, from mediator to
    target, and from source to target. A loop is balanced if the product of signs is positive.

    Example:
        >>> w = signed_network(40, 0.1)
        >>> sum(feed_forward_loops(w).values()) == triad_census(w)["030T"]
        True
    """
    census = {split(name): count for name, count in signed_triad_census(w).items()}
    return {signs: count for (name, signs), count in census.items() if name == "030T"}
