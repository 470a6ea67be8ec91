"""Feed-forward loops: u -> v -> w with a shortcut u -> w, found in a graph or planted in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array

from sparse_engine.analysis.annealing import signed_network
from sparse_engine.analysis.graph import GraphLike, as_csr

# Number of paths that are examined at once, which bounds memory.
AT_ONCE = 1 << 22


def find_feed_forward_loops(w: GraphLike) -> np.ndarray:
    """Find every feed-forward loop of a graph, whatever other links connect its nodes.

    Feed-forward loops are the semicycles that ``transitive`` counts in
    :func:`~sparse_engine.analysis.structural_balance`.

    Returns:
        int64 ``[loops, 3]``: the nodes u, v, w of each loop, in the order of w, u and v.
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


class Planted(NamedTuple):
    """Network with planted feed-forward loops.

    Attributes:
        graph: float64 ``[n, n]`` of +1 and -1; rows are targets.
        loops: int64 ``[loops, 3]``, the nodes u, v, w of u -> v -> w and u -> w.
    """

    graph: csr_array
    loops: np.ndarray


def planted_network(
    n: int, density: float, *, loops: int = 15, balanced: float = 0.5, seed: int = 0
) -> Planted:
    """Make a random network with feed-forward loops whose links are in no other loop.

    Two nodes of each loop lose all links that :func:`signed_network` gave them. A third node is
    drawn from the others, and the three get random roles in the loop. See the lesion experiments of
    Zhang et al., "Universal structural patterns in sparse recurrent neural networks", 2023.

    Args:
        n: number of nodes, more than ``2 * loops``.
        density: fraction of the positions off the diagonal that hold a link before loops are
            planted, in (0, 1].
        loops: number of planted loops, at least 0.
        balanced: fraction of the loops whose product of signs is positive, in [0, 1].
        seed: seed of the random numbers, at least 0.

    Raises:
        ValueError: an argument out of range.
    """
    if loops < 0 or n <= 2 * loops:
        raise ValueError(f"expected n of more than {2 * loops} for {loops} loops, found {n}")
    if not 0 <= balanced <= 1:
        raise ValueError(f"expected balanced in [0, 1], found {balanced}")
    w = signed_network(n, density, seed=seed).tocoo()
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 1])))
    order = rng.permutation(n)
    alone, others = order[: 2 * loops], order[2 * loops :]
    nodes = np.column_stack([alone.reshape(loops, 2), rng.choice(others, loops)])
    nodes = rng.permuted(nodes, axis=1).astype(np.int64)
    signs = rng.choice([-1.0, 1.0], (loops, 2))
    product = np.where(np.arange(loops) < round(balanced * loops), 1.0, -1.0)
    values = np.column_stack([signs, rng.permutation(product) * signs.prod(1)])
    sources, targets = nodes[:, [0, 1, 0]].ravel(), nodes[:, [1, 2, 2]].ravel()
    kept = ~np.isin(w.row, alone) & ~np.isin(w.col, alone)
    graph = coo_array(
        (
            np.concatenate([w.data[kept], values.ravel()]),
            (np.concatenate([w.row[kept], targets]), np.concatenate([w.col[kept], sources])),
        ),
        shape=(n, n),
    )
    return Planted(graph.tocsr(), nodes)


def find_planted_loops(w: GraphLike) -> np.ndarray:
    """Find the feed-forward loops two of whose nodes have no other links, as planted ones do.

    Values do not matter, so that loops can be found in a trained network, too.

    Returns:
        int64 ``[loops, 3]``, the nodes u, v, w of u -> v -> w and u -> w.
    """
    csr = as_csr(w)
    links = csr.tocoo()
    loops = find_feed_forward_loops(csr)
    degrees = np.bincount(np.concatenate([links.row, links.col]), minlength=csr.shape[0])
    return loops[(degrees[loops] == 2).sum(1) >= 2]
