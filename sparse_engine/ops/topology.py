"""Operations on patterns: sampling absent positions, selecting links, rewiring, link prediction.

On the CPU they are native kernels; ``_topology_cuda.py`` has the same in plain torch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import checked, native
from sparse_engine.ops._dispatch.private import OpOverloadPacket
from sparse_engine.ops.pattern import Links, Pattern
from sparse_engine.ops.random_key import RandomKey


class Rewired(NamedTuple):
    """The result of :func:`rewire`.

    Attributes:
        links: the new links.
        slot_map: int32 ``[old nnz]``, new position of each old link, -1 where it was removed.
        born: int32 ``[positions]``, position of each new link.
    """

    links: Links
    slot_map: Tensor
    born: Tensor


def sample_absent(
    links: Links, count: int, key: RandomKey, *, dropped: Tensor | None = None
) -> Tensor:
    """Draw ``count`` distinct positions uniformly among those that hold no link.

    Args:
        links: links of the matrix.
        count: how many.
        key: the stream of random numbers.
        dropped: bool ``[nnz]``, links that count as absent; the result is that for
            ``rewire(links, ~dropped, no positions)``.

    Returns:
        int64 ``[count]``, ``row * in_features + column``, increasing. A function of the arguments
        alone, whatever the number of threads.

    Raises:
        ValueError: fewer than ``count`` positions are absent.
    """
    return checked(native.sample_absent, *links, dropped, count, *key)


def rewire(links: Links, keep: Tensor, positions: Tensor) -> Rewired:
    """Return the links without those where ``keep`` is False and with one at each of ``positions``.

    Args:
        links: the links now.
        keep: bool ``[nnz]``.
        positions: int64, ``row * in_features + column``, strictly increasing; absent after removal.

    Raises:
        ValueError: positions out of order, out of range, or already a link.
    """
    crow, col, slot_map, born = checked(native.rewire, *links, keep, positions)
    return Rewired(Links(crow, col, links.in_features), slot_map, born)


def smallest(scores: Tensor, count: int, *, above: float | None = None) -> Tensor:
    """Mark the ``count`` smallest entries; among equals those that come first.

    Equals the first ``count`` of ``scores.argsort(stable=True)`` with ``scores > above``, as a
    mask, in linear time; all of them where there are not more.

    Args:
        scores: float32 or float64 ``[nnz]``.
        count: at least 0.
        above: entries that are not greater are never marked; None for no such bound.

    Returns:
        bool ``[nnz]``.

    Raises:
        ValueError: an entry is NaN, so that there is no order.
    """
    return checked(native.smallest, scores.contiguous(), count, above, False)


def largest(scores: Tensor, count: int, *, below: float | None = None) -> Tensor:
    """Mark the ``count`` largest entries, of those less than ``below``: see :func:`smallest`.

    Equals ``smallest(-scores, count, above=-below)``.
    """
    bound = None if below is None else -below
    return checked(native.smallest, scores.contiguous(), count, bound, True)


def nearest_zero(values: Tensor, share: float) -> Tensor:
    """Mark what SET prunes: all zeros, and of each sign the ``share`` nearest to zero.

    Exactly ``int(share * n)`` of the n positive values and likewise of the negative ones; among
    equals those that come first.

    Args:
        values: float32 or float64 ``[nnz]``.
        share: fraction in [0, 1].

    Raises:
        ValueError: an entry is NaN, or ``share`` is out of range.
    """
    return checked(native.nearest_zero, values.contiguous(), share)


def carry(tensor: Tensor, slot_map: Tensor, size: int) -> Tensor:
    """Move one entry per link to the link's new position; zeros where a link is new.

    Equals ``out = zeros(size); out[slot_map[kept]] = tensor[kept]``, for any dtype.
    """
    return checked(native.carry, tensor, slot_map, size)


def carry_(tensor: Tensor, slot_map: Tensor) -> Tensor:
    """Run :func:`carry` in place, where the number of links stays, and return ``tensor``."""
    checked(native.carry_, tensor, slot_map)
    return tensor


def scan_absent(
    block: Tensor, links: Links, *, first_row: int = 0, above: float = -1.0
) -> tuple[Tensor, Tensor]:
    """Return the large entries of some rows of a dense matrix, at positions without a link.

    Equals ``positions = ((block.abs() > above) & absent).flatten().nonzero()`` with their
    magnitudes; NaN counts as greater than every number.

    Args:
        block: float32 or float64 ``[rows, in_features]``, contiguous.
        links: links of an ``out_features x in_features`` matrix.
        first_row: the row of that matrix which is the block's first.
        above: magnitudes that are not greater are left out; all positions for a negative number.

    Returns:
        Magnitudes and int64 positions (``row * in_features + column``, increasing), both
        ``[found]``.

    Raises:
        ValueError: a shape or dtype does not fit.
    """
    return checked(native.scan_absent, block, *links, first_row, above)


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


@fake("transpose")
def _(crow, col, in_features):
    return crow.new_empty(in_features + 1), torch.empty_like(col), torch.empty_like(col)


@fake("rewire")
def _(crow, col, in_features, keep, cells):
    # How many of the old links stay is for the data to say, unless there are none.
    empty = isinstance(col.numel(), int) and col.numel() == 0
    links = cells.numel() if empty else torch.library.get_ctx().new_dynamic_size()
    return (
        torch.empty_like(crow),
        col.new_empty(links),
        torch.empty_like(col),
        cells.new_empty(cells.shape, dtype=torch.int32),
    )


fake("check_csr", "carry_")(lambda **_: None)
fake("sample_absent")(lambda crow, count, **_: crow.new_empty(count))
fake("carry")(lambda tensor, size, **_: tensor.new_empty(size))
fake("smallest")(lambda scores, **_: torch.empty_like(scores, dtype=torch.bool))
fake("nearest_zero")(lambda values, **_: torch.empty_like(values, dtype=torch.bool))


@fake("scan_absent")
def _(block, crow, col, in_features, first_row, above):
    found = torch.library.get_ctx().new_dynamic_size()
    return block.new_empty(found), crow.new_empty(found)


@fake("ch3_l3", "ch2_l3n")
def _(crow, col, t_crow, t_col, count, sample, seed, step, stream):
    found = torch.library.get_ctx().new_dynamic_size()
    return crow.new_empty(found), crow.new_empty(found, dtype=torch.float64)
