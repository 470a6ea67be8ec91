"""Feed-forward loops: u -> v -> w with a shortcut u -> w, the motif that lesions remove."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from sparse_engine.analysis.graph import GraphLike, as_csr

# Paths looked at together, so that memory does not grow with their number.
AT_ONCE = 1 << 22


def find_feed_forward_loops(w: GraphLike) -> np.ndarray:
    """Every feed-forward loop of a graph, whatever else connects its nodes.

    They are the semicycles of :func:`~sparse_engine.analysis.structural_balance`, those of its
    ``transitive`` count.

    Returns:
        int64 ``[loops, 3]``: the nodes u, v, w, in order of w, u and v.

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
    cells = targets * n + sources
    # The paths from the source of each link, one after the other.
    paths = np.concatenate([[0], np.cumsum(np.diff(out.indptr)[sources])])
    cuts = np.searchsorted(paths, np.arange(0, max(1, paths[-1]), AT_ONCE))
    found = [np.empty((0, 3), np.int64)]
    for first, last in zip(cuts, [*cuts[1:], len(cells)], strict=True):
        u, w_ = sources[first:last], targets[first:last]
        count = np.diff(paths[first : last + 1])
        within = np.arange(count.sum()) - np.repeat(paths[first:last] - paths[first], count)
        u, w_ = np.repeat(u, count), np.repeat(w_, count)
        v = out.indices[out.indptr[u] + within].astype(np.int64)
        wanted = w_ * n + v
        at = np.searchsorted(cells, wanted)
        there = cells[np.minimum(at, len(cells) - 1)] == wanted
        found.append(np.stack([u, v, w_], axis=1)[there])
    return np.concatenate(found)


def links_of_loops(csr: csr_array, loops: np.ndarray) -> np.ndarray:
    """The positions of the links u -> v, v -> w and u -> w in a CSR with sorted columns.

    Args:
        csr: ``[n, n]``, rows are targets.
        loops: integers ``[loops, 3]``, nodes u, v, w.

    Returns:
        int64 ``[loops, 3]``.

    Raises:
        ValueError: of another shape, or a link that is not there.
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
    cells = coo.row.astype(np.int64) * n + coo.col
    u, v, w = loops.astype(np.int64).T
    wanted = np.stack([v * n + u, w * n + v, w * n + u], axis=1)
    at = np.searchsorted(cells, wanted)
    there = np.append(cells, -1)[at] == wanted
    if not there.all():
        loop, link = np.argwhere(~there)[0]
        target, source = divmod(int(wanted[loop, link]), n)
        raise ValueError(
            f"expected links u -> v -> w and u -> w for loops (u, v, w), found none from {source} "
            f"to {target} for loop {loop}, {tuple(loops[loop].tolist())}"
        )
    return at
