"""Random signed networks of a given balance."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, csr_array

from sparse_engine.analysis.annealing import Annealed, Cooling, anneal
from sparse_engine.analysis.balance_objective import BalanceObjective


def signed_network(
    n: int,
    density: float,
    *,
    positive: float = 0.5,
    self_loops: bool = False,
    seed: int = 0,
) -> csr_array:
    """Make a random graph with exact numbers of links and of positive links, of +1 and -1.

    Args:
        n: number of nodes, at least 1.
        density: fraction of all positions that hold a link, in (0, 1]; without self-loops, of the
            positions off the diagonal.
        positive: fraction of the links that are positive, in [0, 1].
        self_loops: whether links may lead from a node to itself.
        seed: seed of the random numbers, at least 0.

    Returns:
        float64 ``[n, n]``; rows are targets.

    Raises:
        ValueError: an argument out of range.
    """
    if n < 1 or seed < 0:
        raise ValueError(f"expected n of at least 1 and seed of at least 0, found {n} and {seed}")
    if not 0 < density <= 1:
        raise ValueError(f"expected density in (0, 1], found {density}")
    if not 0 <= positive <= 1:
        raise ValueError(f"expected positive in [0, 1], found {positive}")
    rng = np.random.Generator(np.random.Philox(seed))
    columns = n if self_loops else n - 1
    links = round(density * n * columns)
    positions = np.sort(rng.choice(n * columns, links, replace=False, shuffle=False))
    rows, cols = divmod(positions, max(1, columns))
    if not self_loops:
        cols += cols >= rows
    signs = rng.permuted(np.where(np.arange(links) < round(positive * links), 1.0, -1.0))
    return coo_array((signs, (rows, cols)), shape=(n, n)).tocsr()


def balanced_network(
    n: int,
    density: float,
    *,
    target: float,
    positive: float = 0.5,
    self_loops: bool = False,
    cooling: Cooling | None = None,
    objective: BalanceObjective | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Annealed:
    """Make a random signed network, and swap its links until its balance is near a target.

    Equals :func:`signed_network` followed by :func:`~sparse_engine.analysis.anneal`, with the same
    seed.

    Args:
        n: number of nodes, at least 1.
        density: fraction of all positions that hold a link, in (0, 1].
        target: the wanted balance, in [0, 1].
        positive: fraction of the links that are positive, in [0, 1].
        self_loops: whether links may lead from a node to itself.
        cooling: the cooling schedule.
        objective: the measure of balance; the class mean by default.
        seed: seed of the random numbers, in [0, 2^64).
        progress: whether to show a progress bar in a terminal.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> balanced = balanced_network(150, 0.05, target=0.8)
        >>> write_fanmod(balanced.graph, "BN_n_150_p_0.05.txt")
    """
    return anneal(
        signed_network(n, density, positive=positive, self_loops=self_loops, seed=seed),
        target=target,
        seed=seed,
        cooling=cooling,
        objective=objective,
        self_loops=self_loops,
        progress=progress,
    )
