"""Lesions: the performance of a model while motifs, or random links, are removed from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from sparse_engine import convert
from sparse_engine.analysis.loops import links_of_loops
from sparse_engine.nn import SparseWeight

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

        Raises:
            ValueError: a level outside (0, 1).
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
