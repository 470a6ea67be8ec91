"""Random networks with feed-forward loops at known nodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array

from sparse_engine.analysis.balanced_network import signed_network
from sparse_engine.analysis.feed_forward import find_feed_forward_loops
from sparse_engine.analysis.graph import GraphLike, as_csr


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

    Raises:
        TypeError: not a graph.
        ValueError: not square, or not a valid matrix or file.
    """
    csr = as_csr(w)
    links = csr.tocoo()
    loops = find_feed_forward_loops(csr)
    degrees = np.bincount(np.concatenate([links.row, links.col]), minlength=csr.shape[0])
    return loops[(degrees[loops] == 2).sum(1) >= 2]
