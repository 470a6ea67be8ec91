"""Sharing out an exact number of links in proportion to weights."""

from __future__ import annotations

import numpy as np


def apportion(total: int, log_weights: np.ndarray, capacities: np.ndarray) -> np.ndarray:
    """Shares ``total`` out in proportion to weights, none above its capacity.

    Shares that would exceed their capacity become full and the others share the rest, until none
    exceeds it. Shares are rounded down; what is missing then goes, one each, to those with the
    largest fractions (the first among equals).

    Args:
        total: at most the sum of the capacities.
        log_weights: float64 ``[n]``, finite; logarithms, so that weights may differ by any factor.
        capacities: integers ``[n]``, at least 0.

    Returns:
        int64 ``[n]``, which sums to ``total``.
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
