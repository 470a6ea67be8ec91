"""Paired comparison of measurements, such as metrics of runs with the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Fewest differences with which Wilcoxon's test can reach p < 0.05.
FEWEST_RANKED = 6


@dataclass(frozen=True)
class PairedTest:
    """Comparison of two measurements of the same subjects.

    Attributes:
        n: number of pairs.
        difference: mean of the differences.
        low: lower end of the 95 % confidence interval of the mean, by the t distribution.
        high: upper end of it.
        t_p: p-value of the paired t test, two-sided; None for fewer than two pairs, or if all
            differences are equal and not 0.
        rank_p: p-value of the test that ``rank_test`` names, two-sided; None if no difference is
            other than 0.
        rank_test: "wilcoxon" for the exact signed-rank test, "sign" for the sign test. The sign
            test takes the place of the other with fewer than six pairs, or with ties or zeros.
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    t_p: float | None
    rank_p: float | None
    rank_test: str


def paired_test(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Compare two measurements of the same subjects, ``first - second``.

    The p-values are those of ``scipy.stats.ttest_rel``, ``wilcoxon`` and ``binomtest``.
    """
    from scipy import stats  # takes half a second

    a, b = (np.asarray(each, dtype=float) for each in (first, second))
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise ValueError(f"expected pairs, found {[*a.shape]} and {[*b.shape]} measurements")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("expected finite measurements, found others")
    differences = a - b
    low = high = t_p = None
    if np.ptp(differences) > 0:
        t = stats.ttest_rel(a, b)
        (low, high), t_p = (float(each) for each in t.confidence_interval()), float(t.pvalue)
    elif a.size > 1 and not differences.any():
        t_p = 1.0
    rank_p, rank_test = _rank_test(differences)
    return PairedTest(a.size, float(differences.mean()), low, high, t_p, rank_p, rank_test)


def _rank_test(differences: np.ndarray) -> tuple[float | None, str]:
    from scipy import stats

    sizes = np.abs(differences)
    if differences.size >= FEWEST_RANKED and sizes.all() and np.unique(sizes).size == sizes.size:
        return float(stats.wilcoxon(differences, method="exact").pvalue), "wilcoxon"
    greater, less = int((differences > 0).sum()), int((differences < 0).sum())
    if not greater + less:
        return None, "sign"
    return float(stats.binomtest(greater, greater + less).pvalue), "sign"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for the number of tests (Holm 1979), in their order.

    With m tests, the k-th smallest p-value becomes the greatest of ``(m - i + 1) p_i`` over
    i <= k, and at most 1. None stays None and does not count.
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    greatest = 0.0
    for rank, (p, place) in enumerate(order):
        greatest = max(greatest, min(1.0, (len(order) - rank) * p))
        corrected[place] = greatest
    return corrected
