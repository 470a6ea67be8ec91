"""Feed-forward loops: found in a graph, planted in it, and removed from a model (lesions)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from torch import nn
from tqdm.auto import tqdm

from sparse_engine import convert
from sparse_engine.analysis.annealing import signed_network
from sparse_engine.analysis.graph import GraphLike, as_csr
from sparse_engine.nn import SparseWeight

# Number of paths that are examined at once, which bounds memory.
AT_ONCE = 1 << 22


def find_feed_forward_loops(w: GraphLike) -> np.ndarray:
    """Find every feed-forward loop of a graph, whatever other links connect its nodes.

    Feed-forward loops are the semicycles that ``transitive`` counts in
    :func:`~sparse_engine.analysis.structural_balance`.

    Returns:
        int64 ``[loops, 3]``: the nodes u, v, w of each loop, in the order of w, u and v.

    Example:
        >>> w = scipy.sparse.csr_array([[0, 0, 0], [1, 0, 0], [1, 1, 0]])
        >>> find_feed_forward_loops(w)
        array([[0, 1, 2]])
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

    Example:
        >>> planted = planted_network(100, 0.1, loops=15, balanced=0.5)
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

    Example:
        >>> planted = planted_network(100, 0.1, loops=15)
        >>> len(find_planted_loops(planted.graph))
        15
    """
    csr = as_csr(w)
    links = csr.tocoo()
    loops = find_feed_forward_loops(csr)
    degrees = np.bincount(np.concatenate([links.row, links.col]), minlength=csr.shape[0])
    return loops[(degrees[loops] == 2).sum(1) >= 2]


RESAMPLES = 2000


@dataclass(frozen=True)
class LesionCurve:
    """Metric after 0, 1, 2, ... removals, for several random orders.

    Attributes:
        links: int64 ``[orders, steps + 1]``, number of different links removed.
        metric: float64 ``[orders, steps + 1]``.
    """

    links: np.ndarray
    metric: np.ndarray

    @property
    def steps(self) -> int:
        """The number of removals."""
        return self.metric.shape[1] - 1

    @property
    def mean(self) -> np.ndarray:
        """The mean of the metric over the orders, float64 ``[steps + 1]``."""
        return self.metric.mean(0)

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of a confidence interval of the mean, float64 ``[steps + 1]`` each.

        The interval is a bootstrap interval (Efron 1979): quantiles of the means of resampled
        orders. It follows the skew of the metric, and lies within the measured values. It is nan
        for a single order.
        """
        if not 0 < level < 1:
            raise ValueError(f"expected level in (0, 1), found {level}")
        orders = len(self.metric)
        if orders < 2:
            return np.full(self.steps + 1, np.nan), np.full(self.steps + 1, np.nan)
        rng = np.random.Generator(np.random.Philox(0))
        share = rng.multinomial(orders, np.full(orders, 1 / orders), size=RESAMPLES) / orders
        low, high = np.quantile(share @ self.metric, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return low, high


@dataclass(frozen=True)
class Lesions:
    """Result of :func:`lesion`.

    Attributes:
        intact: metric of the model before any removal.
        curves: curves by name: "unbalanced" and "balanced" remove loops of that kind, "both" all
            loops, and "random links" three random links at each step.
    """

    intact: float
    curves: dict[str, LesionCurve]


def lesion(
    model: nn.Module,
    motifs: np.ndarray,
    evaluate: Callable[[nn.Module], float],
    *,
    weight: SparseWeight | None = None,
    orders: int = 10,
    steps: int | None = None,
    seed: int = 0,
) -> Lesions:
    """Remove feed-forward loops one after the other in random orders, and evaluate each time.

    Removing a loop sets its three values to 0; in the end the model gets all values back. A loop is
    balanced if the product of its values is positive. Balanced and unbalanced loops are controls
    for each other, and random links of the weight are a control for both. See Zhang et al.,
    "Universal structural patterns in sparse recurrent neural networks", 2023, where unbalanced
    loops alone are removed.

    Args:
        model: the model that loses links.
        motifs: integers ``[loops, 3]``, nodes u, v, w of u -> v -> w and u -> w, from
            :func:`find_feed_forward_loops` or :func:`planted_network`.
        evaluate: function that returns the metric of the model; it has to be deterministic.
        weight: the weight with the loops; by default the only square weight of the model.
        orders: number of random orders for each curve, at least 1.
        steps: greatest number of loops to remove; by default all.
        seed: seed of the orders, at least 0.

    Raises:
        ValueError: an argument out of range, no loops, a loop without its links, a weight that is
            not in the model, or not exactly one weight to choose from.

    Example:
        >>> rnn = SparseRNN(2, 40, density=0.1)
        >>> loops = find_feed_forward_loops(rnn.weight_hh_l0)
        >>> mean = lambda rnn: rnn(torch.ones(5, 1, 2))[0].mean().item()
        >>> found = lesion(rnn, loops[:10], mean, orders=2)
    """
    if orders < 1 or seed < 0 or (steps is not None and steps < 1):
        raise ValueError(
            f"expected orders and steps of at least 1 and seed of at least 0, found {orders}, "
            f"{steps} and {seed}"
        )
    weight = _weight(model, weight)
    csr = convert.to_scipy(weight)
    loops = links_of_loops(csr, motifs)
    if not len(loops):
        raise ValueError("expected at least one loop, found none")
    balanced = np.sign(csr.data[loops]).prod(1) > 0
    groups = {"unbalanced": loops[~balanced], "balanced": loops[balanced], "both": loops}
    longest = min(max(balanced.sum(), (~balanced).sum()), csr.nnz // 3)
    rng = np.random.Generator(np.random.Philox(seed))
    removals = {
        name: [rng.permutation(group)[:steps] for _ in range(orders)]
        for name, group in groups.items()
    }
    removals["random links"] = [
        rng.choice(csr.nnz, (longest, 3), replace=False)[:steps] for _ in range(orders)
    ]
    total = sum(len(order) for curve in removals.values() for order in curve)
    with tqdm(total=total, desc="lesions", leave=False, delay=1, disable=None) as bar:

        def measure() -> float:
            bar.update()
            return float(evaluate(model))

        intact = float(evaluate(model))
        curves = {
            name: LesionCurve(
                links=np.array([_removed(order) for order in curve]),
                metric=np.array([[intact, *_metrics(weight, order, measure)] for order in curve]),
            )
            for name, curve in removals.items()
        }
    return Lesions(intact, curves)


def _weight(model: nn.Module, weight: SparseWeight | None) -> SparseWeight:
    own = {name: each for name, each in model.named_modules() if isinstance(each, SparseWeight)}
    chosen = [
        each
        for each in own.values()
        if each.shape[0] == each.shape[1] and (weight is None or each is weight)
    ]
    if len(chosen) != 1:
        raise ValueError(
            f"expected one square weight of the model, found {len(chosen)} among {[*own]}; "
            "name it with weight="
        )
    if not isinstance(chosen[0].values, nn.Parameter):
        raise ValueError(f"expected a weight whose values are a Parameter, found {chosen[0]}")
    return chosen[0]


def _metrics(weight: SparseWeight, order: np.ndarray, measure: Callable[[], float]) -> list[float]:
    """Return the metric after each removal, then restore the values."""
    values, metrics = weight.values.detach(), []
    before = values.clone()
    try:
        for links in order:
            values[torch.from_numpy(links).to(values.device)] = 0
            metrics.append(measure())
    finally:
        values.copy_(before)
    return metrics


def _removed(order: np.ndarray) -> list[int]:
    """Count the different links removed after each step; loops may share links."""
    gone: set[int] = set()
    counts = [0]
    for links in order.tolist():
        gone.update(links)
        counts.append(len(gone))
    return counts
