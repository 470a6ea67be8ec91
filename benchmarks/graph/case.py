"""What the benchmarks of the analyses share: random graphs, and rows with a target."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_array, csr_array

from benchmarks._harness import Options
from benchmarks._report import Row, quartiles


def graph(nodes: int, links: int, *, tail: float = 0.0) -> csr_array:
    """A random signed digraph.

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


def row(
    name: str, w: csr_array, runs: dict[str, Callable[[], object]], *, target: str, options: Options
) -> Row:
    """The time of the first of the runs, beside its target and the other runs."""
    timings = options.measure(runs)
    ours, *peers = timings
    times = {peer: timing.median / timings[ours].median for peer, timing in timings.items()}
    return {
        "analysis": name,
        "n": w.shape[0],
        "links": w.nnz,
        "ms": 1e3 * timings[ours].median,
        **{f"x {peer}": times[peer] for peer in peers},
        "target": target,
        **quartiles(timings),
    }
