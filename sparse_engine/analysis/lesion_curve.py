"""Curve of a lesion experiment: a metric after each removal, for several orders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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

    def to_dict(self) -> dict[str, list[float | None]]:
        """Return the means and 95 % intervals for JSON, with None for nan."""
        low, high = self.interval()
        rows = {"links": self.links.mean(0), "mean": self.mean, "low": low, "high": high}
        return {
            name: [None if np.isnan(x) else float(x) for x in row] for name, row in rows.items()
        }

    def row(self, name: str, step: int) -> tuple[str, ...]:
        """Return the row of a table for one step: name, step, links, mean and interval."""
        low, high = (end[step] for end in self.interval())
        links = self.links[:, step].mean()
        shown = "" if np.isnan(low) else f"{low:.4g} to {high:.4g}"
        return name, str(step), f"{links:g}", f"{self.mean[step]:.4g}", shown
