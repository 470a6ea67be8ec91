"""Apportionment: splitting a number of links into integer parts with an exact sum and limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np


def apportion(
    total: int, shares: Sequence[float | Fraction], limits: Sequence[int] | None = None
) -> list[int]:
    """Split ``total`` in proportion to ``shares``, by the method of largest remainders.

    A part that would come out above its limit gets the limit, and the excess goes to the others,
    again in proportion to their shares, until none is above; shares of 0 for all of them count as
    equal. All arithmetic is exact; among equal remainders the first are rounded up.
    """
    if not all(0 <= share < math.inf for share in shares):
        raise ValueError(f"expected finite shares of at least 0, found {[*shares]}")
    limits = [total] * len(shares) if limits is None else limits
    if total > sum(limits):
        raise ValueError(f"expected at most the sum {sum(limits)} of the limits, found {total}")
    parts, left, open_ = list(limits), total, list(range(len(shares)))
    while True:
        quotas = dict(zip(open_, _quotas(left, [shares[i] for i in open_]), strict=True))
        below = [i for i in open_ if quotas[i] <= limits[i]]
        if len(below) == len(open_):
            break
        left -= sum(limits[i] for i in open_ if i not in below)
        open_ = below
    for i, quota in quotas.items():
        parts[i] = math.floor(quota)
    most = sorted(quotas, key=lambda i: parts[i] - quotas[i])
    for i in most[: left - sum(parts[i] for i in quotas)]:
        parts[i] += 1
    return parts


def _quotas(total: int, shares: list[float | Fraction]) -> list[Fraction]:
    exact = [Fraction(share) for share in shares]
    whole = sum(exact)
    return [total * (share / whole if whole else Fraction(1, len(exact))) for share in exact]


def apportion_logs(total: int, log_weights: np.ndarray, capacities: np.ndarray) -> np.ndarray:
    """Split ``total`` in proportion to weights, with no part above its capacity.

    Shares that would exceed their capacity become full and the others share the rest, until none
    exceeds it. Shares are rounded down; what is missing then goes, one each, to those with the
    largest fractions (the first among equals). Weights are given by their logarithms, so that they
    may differ by any factor.
    """
    capacities = np.asarray(capacities, np.int64)
    with np.errstate(divide="ignore"):
        order = np.argsort(np.log(capacities) - log_weights, kind="stable")
    room, logs = capacities[order], np.asarray(log_weights, np.float64)[order]
    rest = np.logaddexp.accumulate(logs[::-1])[::-1]
    left = total - (np.cumsum(room) - room)
    below = left * np.exp(logs - rest) < room
    full = int(below.argmax()) if below.any() else len(room)
    shares = room.astype(np.float64)
    if full < len(room):
        weights = np.exp(logs[full:] - logs[full:].max())
        shares[full:] = np.minimum(left[full] * (weights / weights.sum()), room[full:])
    counts, fractions = np.empty_like(room), np.empty_like(shares)
    counts[order], fractions[order] = np.floor(shares), shares % 1
    fractions[counts == capacities] = -1
    short = total - int(counts.sum())
    counts[np.argsort(-fractions, kind="stable")[:short]] += 1
    return counts
