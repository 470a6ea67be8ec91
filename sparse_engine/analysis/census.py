"""Triad census of a directed graph, with and without the signs of its links."""

from __future__ import annotations

from math import comb

from sparse_engine.analysis.graph import GraphLike, as_csr, native, threads
from sparse_engine.analysis.motifs import CLASSES, by_type, split, types


def triad_census(w: GraphLike) -> dict[str, int]:
    """Count the triples of nodes of each of the 16 classes: ``networkx.triadic_census``.

    Signs and self-loops do not matter. Closed triads are counted one by one; the numbers of open
    triads follow from the degrees of the nodes. See Batagelj and Mrvar, "A subquadratic triad
    census algorithm for large sparse networks", 2001.

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
    """
    census = dict.fromkeys(CLASSES, 0)
    for name, count in signed_triad_census(w).items():
        census[split(name)[0]] += count
    return census


def signed_triad_census(w: GraphLike) -> dict[str, int]:
    """Count the triples of nodes of each type: class and signs, such as "030T:++-".

    The result has all 138 types without stored zeros, and those types with zeros, a third sign,
    that occur. :mod:`~sparse_engine.analysis.motifs` describes the names. Self-loops do not matter.

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
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

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
    """
    census = {split(name): count for name, count in signed_triad_census(w).items()}
    return {signs: count for (name, signs), count in census.items() if name == "030T"}
