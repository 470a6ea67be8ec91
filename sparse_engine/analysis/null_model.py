"""Null models: what balance would be by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse_engine.analysis import codes
from sparse_engine.analysis._triads import CODES, Triangles
from sparse_engine.analysis.graph import GraphLike, as_csr, link_states, native, threads

# States and counts that are held at a time, so that memory does not grow with the samples.
HELD_AT_ONCE = 1 << 23


@dataclass(frozen=True)
class NullModel:
    """The balance of a graph beside that of random ones.

    The statistics are "class_mean", "pooled", "triad_level" and the ratio of each class, "030T",
    "120D", "120U" and "300", as in :func:`~sparse_engine.analysis.structural_balance`.

    Attributes:
        observed: of the graph itself.
        samples: of the random graphs, float64 ``[n]`` each.
    """

    observed: dict[str, float]
    samples: dict[str, np.ndarray]

    @property
    def z_scores(self) -> dict[str, float]:
        """``(observed - samples.mean()) / samples.std(ddof=1)``; nan without any spread."""
        return {name: _z_score(self.observed[name], x) for name, x in self.samples.items()}

    @property
    def p_values(self) -> dict[str, float]:
        """``(1 + (samples >= observed).sum()) / (1 + n)``, one-sided; nan where nothing counts."""
        return {name: _p_value(self.observed[name], x) for name, x in self.samples.items()}

    def to_dict(self) -> dict[str, dict[str, float | None]]:
        """Observed value, mean of the samples, z-score and p-value by statistic; None for nan."""
        z, p = self.z_scores, self.p_values
        rows = {
            name: {"observed": self.observed[name], "mean": x.mean(), "z": z[name], "p": p[name]}
            for name, x in self.samples.items()
        }
        return {
            name: {key: None if np.isnan(x) else float(x) for key, x in row.items()}
            for name, row in rows.items()
        }

    def __str__(self) -> str:
        lines = [f"{'statistic':12}{'observed':>12}{'by chance':>12}{'z':>12}{'p':>12}"]
        for name, row in self.to_dict().items():
            cells = ("-" if x is None else f"{x:.4g}" for x in row.values())
            lines.append(f"{name:12}" + "".join(f"{cell:>12}" for cell in cells))
        return "\n".join(lines)


def sign_shuffle(w: GraphLike, n: int = 500, *, seed: int = 0) -> NullModel:
    """The balance of ``n`` graphs with the same links, among which the signs are shuffled.

    A stored zero is a sign of its own, and self-loops take part. Triangles are looked for once.
    The samples are a function of the graph, ``n`` and ``seed`` alone.

    Args:
        w: whatever :func:`~sparse_engine.analysis.graph.as_csr` takes.
        n: how many, at least 2.
        seed: of the shuffles, at least 0.

    Raises:
        TypeError: not a graph.
        ValueError: not square, not a valid matrix or file, or ``n`` or ``seed`` too small.
    """
    if n < 2 or seed < 0:
        raise ValueError(f"expected n of at least 2 and seed of at least 0, found {n} and {seed}")
    csr = as_csr(w)
    states, graph = link_states(csr), native(csr)
    triangles = Triangles(graph)
    rng = np.random.Generator(np.random.Philox(seed))
    at_once = max(1, HELD_AT_ONCE // max(CODES, len(states)))
    counts = []
    for first in range(0, n, at_once):
        size = min(at_once, n - first)
        shuffled = rng.permuted(np.tile(states, (size, 1)), axis=1)
        counts.append(codes.balance_counts(triangles.count(shuffled, threads())))
    observed = codes.ratios(codes.balance_counts(graph.count(threads())))
    return NullModel(
        {name: float(x) for name, x in observed.items()}, codes.ratios(np.concatenate(counts))
    )


def _z_score(observed: float, samples: np.ndarray) -> float:
    spread = samples.std(ddof=1)
    return float((observed - samples.mean()) / spread) if spread > 0 else np.nan


def _p_value(observed: float, samples: np.ndarray) -> float:
    if np.isnan(observed):
        return np.nan
    return float((1 + (samples >= observed).sum()) / (1 + len(samples)))
