"""Rows of other ranks that a product reads, and the product that works while they travel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparse_engine.distributed.share import Share, counts_of_others, exchange
from sparse_engine.ops import Pattern
from sparse_engine.ops._dispatch.native import native

#: Fewest links, of all, that are worth to be multiplied separately while other rows travel.
WORTH = 1 / 16


class Halo:
    """Product of own rows of a matrix with a dense matrix whose rows are distributed.

    Each row is summed in the order of its columns, whoever owns them, so that results have the same
    bits for any number of ranks. A run of consecutive rows that read nothing of other ranks is
    multiplied while the others travel.

    Args:
        crow: int64 ``[rows + 1]``, the own rows.
        col: int32 ``[nnz]``, columns of the whole matrix.
        share: the ranks' shares of the columns.
    """

    def __init__(self, crow: Tensor, col: Tensor, share: Share) -> None:
        self.crow, self.col, self.share = crow, col, share
        self.columns = share.units * share.blocks
        used = torch.zeros(self.columns, dtype=torch.bool)
        used[col.long()] = True
        used.view(share.blocks, -1)[:, share.begin : share.end] = False
        foreign = used.nonzero().squeeze(1)
        # The columns of a rank may lie in several blocks; they are asked for, and come, together.
        owner = share.owners(foreign)
        by_rank = owner.argsort(stable=True)
        self.wanted = foreign[by_rank]
        self.received = torch.bincount(owner, minlength=len(share.sizes)).tolist()
        self.sent = counts_of_others(self.received, share.group)
        asked = exchange(self.wanted, self.received, self.sent, share.group)
        self.given = share.locally(asked)
        self.mine = share.globally(torch.arange(share.size))
        self.segments = self._segments(used)

    @property
    def volume(self) -> int:
        """Number of rows that come from other ranks at each product."""
        return self.wanted.numel()

    def _segments(self, foreign: Tensor) -> list[tuple[int, int, bool]]:
        """Return ranges of rows, with whether they can be multiplied before others come."""
        rows = self.crow.numel() - 1
        reads = torch.nn.functional.pad(foreign[self.col.long()].cumsum(0), (1, 0))[self.crow]
        last = torch.nn.functional.pad(reads.diff().nonzero().squeeze(1) + 1, (1, 0))
        ends = torch.cat([last[1:] - 1, torch.tensor([rows])])
        links = self.crow[ends] - self.crow[last]
        longest = int(links.argmax())
        begin, end = int(last[longest]), int(ends[longest])
        if links[longest] < max(1, WORTH * self.col.numel()):
            return [(0, rows, False)]
        parts = [(begin, end, True), (0, begin, False), (end, rows, False)]
        return [part for part in parts if part[0] < part[1]]

    def times(self, values: Tensor, x: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the product ``[rows, n]`` with own rows ``x``, and all rows that it has read.

        The latter are ``[columns, n]``, arbitrary where no own row has a link.
        """
        share = self.share
        if len(share.sizes) == 1:
            return self._part(values, x, bias, 0, self.crow.numel() - 1), x
        work: Any = None
        there, work = exchange(x[self.given], self.sent, self.received, share.group, async_op=True)
        whole = x.new_empty(self.columns, x.shape[1])
        whole.index_copy_(0, self.mine, x)
        done: list[tuple[int, Tensor]] = []
        for begin, end, early in self.segments:
            if not early and work is not None:
                work.wait()
                whole.index_copy_(0, self.wanted, there)
                work = None
            done.append((begin, self._part(values, whole, bias, begin, end)))
        if work is not None:
            work.wait()
            whole.index_copy_(0, self.wanted, there)
        done.sort(key=lambda part: part[0])
        parts = [part for _, part in done]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)), whole

    def _part(self, values: Tensor, x: Tensor, bias: Tensor | None, begin: int, end: int) -> Tensor:
        crow = self.crow[begin : end + 1]
        first, last = int(crow[0]), int(crow[-1])
        pattern = one_way(crow - first, self.col[first:last], self.columns)
        offset = None if bias is None else bias[begin:end]
        return native.spmm(values[first:last], [*pattern], x, offset)


def one_way(crow: Tensor, col: Tensor, columns: int) -> Pattern:
    """Return a pattern for products that do not read its transpose, without memory for it."""
    nnz = col.numel()
    t_crow = torch.zeros(columns + 1, dtype=torch.int64)
    t_crow[-1] = nnz
    places = 2 * (nnz // max(256, nnz // 8192))
    plan = torch.zeros(2, 1 + 2 * places, dtype=torch.int32)
    return Pattern(crow, col, t_crow, col, col, plan)
