"""Random signed networks of a given balance."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, csr_array

from sparse_engine.analysis.annealing import Annealed, Cooling, anneal
from sparse_engine.analysis.objective import Objective


def signed_network(
    n: int,
    density: float,
    *,
    positive: float = 0.5,
    self_loops: bool = False,
    seed: int = 0,
) -> csr_array:
    """A random digraph with exact numbers of links and of positive ones, values +1 and -1.

    Args:
        n: nodes, at least 1.
        density: share of the cells that hold a link, in (0, 1]; without self-loops of those off
            the diagonal.
        positive: share of the links that are positive, in [0, 1].
        self_loops: whether links may lead from a node to itself.
        seed: of the random numbers, at least 0.

    Returns:
        float64 ``[n, n]``, rows are targets.

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
    cells = np.sort(rng.choice(n * columns, links, replace=False, shuffle=False))
    rows, cols = divmod(cells, max(1, columns))
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
    objective: Objective | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Annealed:
    """A random signed network whose links are swapped until its balance is near a target.

    :func:`signed_network` followed by :func:`~sparse_engine.analysis.anneal`, with one seed.

    Args:
        n: nodes, at least 1.
        density: share of the cells that hold a link, in (0, 1].
        target: the balance that is wanted, in [0, 1].
        positive: share of the links that are positive, in [0, 1].
        self_loops: whether links may lead from a node to itself.
        cooling: the temperatures and the number of proposals at each.
        objective: the balance that is meant, the class mean by default.
        seed: of the random numbers, in [0, 2^64).
        progress: whether a terminal shows how far it is.

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
