"""Link prediction: which absent positions the links around them favour."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops._dispatch.private import OpOverloadPacket
from sparse_engine.ops.pattern import Links, Pattern
from sparse_engine.ops.random_key import RandomKey


class Predicted(NamedTuple):
    """The result of a link prediction.

    Attributes:
        positions: int64 ``[found]``, ``row * in_features + column``, increasing.
        scores: float64 ``[found]``, what the positions were chosen by, above 0.
    """

    positions: Tensor
    scores: Tensor


def ch3_l3(links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
    """Return the absent positions of the greatest CH3-L3 scores (Muscoloni et al. 2020).

    The weight is a bipartite network of rows and columns. The score of an absent cell (r, c) is a
    sum over all paths of three links (r, j), (i, j), (i, c), of
    ``1 / sqrt((1 + outside(i)) * (1 + outside(j)))``, where ``outside`` counts a unit's links other
    than to c or r and to units on such paths: with sets of links, ``1 + outside(i)`` is
    ``|row i - row r|`` and ``1 + outside(j)`` is ``|column j - column c|``. With ``A`` the dense
    matrix of zeros and ones, and ``0 ** -0.5`` read as 0::

        P = (A.sum(1) - A @ A.T) ** -0.5                          [r, i]
        Q = (A.sum(0) - A.T @ A) ** -0.5                          [c, j]
        einsum("ri,ic,ij,rj,cj->rc", P, A, A, A, Q)

    Time is proportional to the walks of three links: about ``nnz * fan_in * fan_out``.

    Args:
        links: the links now.
        count: how many positions, at least 0.
        key: None, or whose random numbers divide the scores, one exponentially distributed number
            each: the positions are then drawn one after the other, in proportion to the scores.

    Returns:
        ``count`` positions, or all with a score above 0 where there are not more. Among equal
        scores the lowest positions; the same for any number of threads.

    Raises:
        ValueError: count is negative.
    """
    return _predict(native.ch3_l3, links, count, key)


def ch2_l3n(links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
    """Return the absent positions of the greatest CH2-L3n scores (Zhang et al. 2025).

    As :func:`ch3_l3`, but the score is a sum over the units between r and c, each counted once
    however many paths it is on, of ``(1 + inside) / (1 + outside)``, where ``inside`` counts a
    unit's links to others of them: ``inside(i)`` is ``|row i & row r|`` and ``inside(j)`` is
    ``|column j & column c|``. With ``R = A @ A.T`` and ``C = A.T @ A``, and divisions by 0
    read as 0::

        P = (R > 0) * (1 + R) / (A.sum(1) - R)                    [r, i]
        Q = (C > 0) * (1 + C) / (A.sum(0) - C)                    [c, j]
        P @ A + A @ Q.T
    """
    return _predict(native.ch2_l3n, links, count, key)


def _predict(
    operation: OpOverloadPacket, links: Links, count: int, key: RandomKey | None
) -> Predicted:
    both_orders = Pattern.of(links)[:4]
    return Predicted(*operation(*both_orders, count, key is not None, *(key or RandomKey(0))))


@fake("ch3_l3", "ch2_l3n")
def _(crow, col, t_crow, t_col, count, sample, seed, step, stream):
    found = torch.library.get_ctx().new_dynamic_size()
    return crow.new_empty(found), crow.new_empty(found, dtype=torch.float64)
