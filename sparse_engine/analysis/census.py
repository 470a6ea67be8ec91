"""The triad census of a directed graph."""

from __future__ import annotations

from math import comb

import numpy as np
from scipy.sparse import csr_array

from sparse_engine.analysis import codes
from sparse_engine.analysis.graph import GraphLike, as_csr, native, threads

#: The classes of triads in which one pair of nodes has no link, by what the third node has to each
#: of the two: a link to it, a link from it, or both.
OPEN = {
    "021D": ("to", "to"),
    "021U": ("from", "from"),
    "021C": ("to", "from"),
    "111D": ("both", "from"),
    "111U": ("both", "to"),
    "201": ("both", "both"),
}
#: All classes; the first two digits are their mutual and asymmetric pairs of nodes.
NAMES = (
    *("003", "012", "102", "021D", "021U", "021C", "111D", "111U"),
    *("030T", "030C", "201", "120D", "120U", "120C", "210", "300"),
)


def triad_census(w: GraphLike) -> dict[str, int]:
    """How many triples of nodes are of each of the 16 classes: ``networkx.triadic_census``.

    Signs and self-loops do not matter. Closed triads are counted one by one, open ones follow from
    the nodes' degrees. After Batagelj and Mrvar, "A subquadratic triad census algorithm for large
    sparse networks", 2001.

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
    """
    csr = as_csr(w)
    n = csr.shape[0]
    histogram = native(csr).count(threads())
    census = dict.fromkeys(NAMES, 0)
    for name, count in zip(codes.class_of(), histogram.tolist(), strict=True):
        if count:
            census[str(name)] += count

    ends = _ends(csr)
    for name, (one, other) in OPEN.items():
        a, b = ends[one], ends[other]
        pairs = int((a * (a - 1) // 2 if one == other else a * b).sum())
        census[name] = pairs - int(histogram @ codes.corners(one, other))

    # A pair of nodes is in n - 2 triples; those with links elsewhere are all known by now.
    asymmetric, mutual = int(ends["to"].sum()), int(ends["both"].sum()) // 2
    for name, pairs, digit in (("012", asymmetric, 1), ("102", mutual, 0)):
        census[name] = pairs * max(n - 2, 0) - sum(
            int(other[digit]) * count for other, count in census.items()
        )
    census["003"] = comb(n, 3) - sum(census.values())
    return census


def _ends(csr: csr_array) -> dict[str, np.ndarray]:
    """How many neighbours each node has with a link to them, from them, or both, int64 ``[n]``."""
    coo = csr.tocoo()
    proper = coo.row != coo.col
    ends = coo.row[proper], coo.col[proper]
    links = csr_array((np.ones(len(ends[0]), bool), ends), shape=csr.shape)
    into, out = np.diff(links.indptr), np.bincount(ends[1], minlength=csr.shape[0])
    both = np.diff(links.multiply(links.T.tocsr()).tocsr().indptr).astype(np.int64)
    return {"to": out - both, "from": into - both, "both": both}
