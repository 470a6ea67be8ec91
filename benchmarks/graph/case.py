"""Random graphs, which the benchmarks of the analyses share."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, csr_array


def graph(nodes: int, links: int, *, tail: float = 0.0) -> csr_array:
    """Return a random signed digraph.

    Args:
        nodes: how many.
        links: how many; with a tail fewer, where one is drawn twice.
        tail: 0 for links that are equally likely, otherwise the exponent with which the
            popularity of a node, as a source and as a target, falls with its rank.
    """
    rng = np.random.default_rng(0)
    if tail:
        popularity = np.arange(1, nodes + 1) ** -tail
        ends = rng.choice(nodes, (2, links), p=popularity / popularity.sum())
        cells = np.unique(ends[0] * nodes + ends[1])
    else:
        cells = np.sort(rng.choice(nodes**2, links, replace=False, shuffle=False))
    return coo_array(
        (rng.normal(size=len(cells)), divmod(cells, nodes)), shape=(nodes, nodes)
    ).tocsr()
