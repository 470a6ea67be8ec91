"""Best matching of the units of two layers by their sets of inputs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from sparse_engine.analysis._matching import ONE, match
from sparse_engine.analysis.graph import threads as default_threads
from sparse_engine.convert.scipy import as_canonical


class Matching(NamedTuple):
    """Matching of the units of a layer in networks a and b.

    Attributes:
        distance: mean over the pairs of the Jaccard distance ``|A xor B| / |A or B|`` of their sets
            of inputs, which is 0 where both are empty.
        partner: int64 ``[units]``, unit ``partner[i]`` of b belongs to unit i of a.
        gap: bound such that no matching has a distance below ``distance - gap``.
    """

    distance: float
    partner: np.ndarray
    gap: float


def match_units(
    a: csr_array, b: csr_array, *, bound: float = 0.0, threads: int | None = None
) -> Matching:
    """Return the matching of the units of two layers that has the smallest distance.

    Only units with a common input have a distance below 1, so the best matching is the one with the
    largest sum of Jaccard similarities in a sparse graph. Similarities are rounded down to
    multiples of 2^-40; the matching is exact for the rounded ones. Among equally good matchings the
    choice is the same for any number of threads: units are matched in the order of their numbers,
    and prefer the unit of the same number, then the next higher numbers, cyclically. Units that
    gain nothing from any matching keep their number if possible, and are paired in order otherwise.

    Memory is O(links + 32 units), or more where many pairs are equally similar. There is no table
    of all pairs.

    Args:
        a: matrix in any of SciPy's formats, whose row i has the inputs of unit i; values do not
            matter.
        b: matrix of the same shape for the other layer.
        bound: greatest allowed excess of the distance over the smallest, at least 0. It saves time,
            most of all in large layers with few links, where many pairs are equally similar.
        threads: number of threads that compute similarities; by default that of torch.

    Raises:
        TypeError: an argument that is no sparse array or matrix.
        ValueError: shapes that differ, a malformed matrix, or a bound below 0.
    """
    a, b = as_canonical(a), as_canonical(b)
    if a.shape != b.shape:
        raise ValueError(f"expected two layers of one shape, found {a.shape} and {b.shape}")
    if not bound >= 0:
        raise ValueError(f"expected bound of at least 0, found {bound}")
    units = a.shape[0]
    partner, gap = match(
        *_native(a),
        *_native(b),
        *_native(b.T.tocsr()),
        int(min(bound, 1.0) * ONE),
        default_threads() if threads is None else threads,
    )
    partner = partner.astype(np.int64)
    empty_a, empty_b = np.diff(a.indptr) == 0, np.diff(b.indptr) == 0
    _pair_off(partner, empty_a, empty_b)
    _pair_off(partner, partner < 0, _alone(partner))
    return Matching(distance(a, b, partner), partner, gap / max(1, units) / ONE)


def distance(a: csr_array, b: csr_array, partner: np.ndarray) -> float:
    """Return the mean Jaccard distance of the rows ``a[i]`` and ``b[partner[i]]``; 0 of no rows."""
    ones_a, ones_b = (csr_array((np.ones(w.nnz), w.indices, w.indptr), w.shape) for w in (a, b))
    ones_b = ones_b[partner]
    common = np.asarray(ones_a.multiply(ones_b).sum(axis=1)).ravel()
    either = np.diff(ones_a.indptr) + np.diff(ones_b.indptr) - common
    return float((1 - common / np.maximum(either, 1))[either > 0].sum() / max(1, len(either)))


def _native(w: csr_array) -> tuple[np.ndarray, np.ndarray]:
    return w.indptr.astype(np.int64), w.indices.astype(np.int32)


def _alone(partner: np.ndarray) -> np.ndarray:
    alone = np.ones(len(partner), bool)
    alone[partner[partner >= 0]] = False
    return alone


def _pair_off(partner: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    """Pair the masked rows and columns: those of equal numbers first, the others in order."""
    same = rows & columns
    partner[same] = np.flatnonzero(same)
    rows, columns = np.flatnonzero(rows & ~same), np.flatnonzero(columns & ~same)
    count = min(len(rows), len(columns))
    partner[rows[:count]] = columns[:count]
