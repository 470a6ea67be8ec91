"""Feed-forward loops: u -> v -> w with a shortcut u -> w, the motif that lesions remove."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from sparse_engine.analysis.graph import GraphLike, as_csr

# Number of paths that are examined at once, which bounds memory.
AT_ONCE = 1 << 22


def find_feed_forward_loops(w: GraphLike) -> np.ndarray:
    """Find every feed-forward loop of a graph, whatever other links connect its nodes.

    Feed-forward loops are the semicycles that ``transitive`` counts in
    :func:`~sparse_engine.analysis.structural_balance`.

    Returns:
        int64 ``[loops, 3]``: the nodes u, v, w of each loop, in the order of w, u and v.

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
    """
    coo = as_csr(w).tocoo()
    proper = coo.row != coo.col
    ends = coo.row[proper].astype(np.int64), coo.col[proper].astype(np.int64)
    n = coo.shape[0]
    out = csr_array((np.ones(len(ends[0]), bool), ends), shape=coo.shape).tocsc()
    targets, sources = ends
    positions = targets * n + sources
    # Numbers of paths that begin at the source of each link, summed up.
    paths = np.concatenate([[0], np.cumsum(np.diff(out.indptr)[sources])])
    cuts = np.searchsorted(paths, np.arange(0, max(1, paths[-1]), AT_ONCE))
    found = [np.empty((0, 3), np.int64)]
    for first, last in zip(cuts, [*cuts[1:], len(positions)], strict=True):
        u, w_ = sources[first:last], targets[first:last]
        count = np.diff(paths[first : last + 1])
        within = np.arange(count.sum()) - np.repeat(paths[first:last] - paths[first], count)
        u, w_ = np.repeat(u, count), np.repeat(w_, count)
        v = out.indices[out.indptr[u] + within].astype(np.int64)
        wanted = w_ * n + v
        at = np.searchsorted(positions, wanted)
        there = positions[np.minimum(at, len(positions) - 1)] == wanted
        found.append(np.stack([u, v, w_], axis=1)[there])
    return np.concatenate(found)


def links_of_loops(csr: csr_array, loops: np.ndarray) -> np.ndarray:
    """Return the numbers of the links u -> v, v -> w and u -> w in the order of a CSR array.

    Args:
        csr: ``[n, n]`` with sorted columns; rows are targets.
        loops: integers ``[loops, 3]``, the nodes u, v, w of each loop.

    Returns:
        int64 ``[loops, 3]``.

    Raises:
        ValueError: loops of another shape, or with a link that does not exist.
    """
    loops = np.asarray(loops)
    if loops.ndim != 2 or loops.shape[1] != 3 or not np.issubdtype(loops.dtype, np.integer):
        raise ValueError(
            f"expected loops as integers of shape [loops, 3], found {loops.dtype} of shape "
            f"{[*loops.shape]}"
        )
    n = csr.shape[0]
    if loops.size and (loops.min() < 0 or loops.max() >= n):
        raise ValueError(f"expected nodes in [0, {n}), found {loops.min()} to {loops.max()}")
    coo = csr.tocoo()
    positions = coo.row.astype(np.int64) * n + coo.col
    u, v, w = loops.astype(np.int64).T
    wanted = np.stack([v * n + u, w * n + v, w * n + u], axis=1)
    at = np.searchsorted(positions, wanted)
    there = np.append(positions, -1)[at] == wanted
    if not there.all():
        loop, link = np.argwhere(~there)[0]
        target, source = divmod(int(wanted[loop, link]), n)
        raise ValueError(
            f"expected links u -> v -> w and u -> w for loops (u, v, w), found none from {source} "
            f"to {target} for loop {loop}, {tuple(loops[loop].tolist())}"
        )
    return at
