"""The sparse weight of which each rank has some rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sparse_engine.distributed.halo import Halo, one_way
from sparse_engine.distributed.share import Share, counts_of_others, exchange
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Links, Pattern
from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops._dispatch.private import backward_pass
from sparse_engine.ops.sums import column_sums

#: Columns of a product of which the gradient of the values is taken at once.
COLUMNS = 64


class ShardedWeight(SparseWeight):
    """Rows of a sparse matrix that one rank owns, with the columns of the whole matrix.

    Multiplies ``x [..., own columns]`` to ``[..., own rows]``: the forward pass gathers those rows
    of ``x`` that own links read, and the backward pass the gradients of those products that read
    own columns. Nothing is summed over ranks, and results have the same bits for any number of
    them. Each rank rewires its own rows; their links' copies at the owners of their columns are
    sent before the next product.

    Args:
        values: ``[nnz]``, of the own links.
        pattern: the own rows, ``own rows x columns``.
        row_share: the shares of the rows.
        column_share: the shares of the columns, or None where every rank has all of ``x``.

    Attributes:
        row_share: see above; ``row_share.globally(rows)`` names rows of the whole matrix.
        column_share: see above.
        row_numbers: int64, the user's number of each row of the whole matrix, where units are in
            another order; or None.
        column_numbers: the same for columns.

    Example:
        >>> shard(network, group)
        >>> network.weight_hh_l0.nnz  # of the rows of this rank
    """

    sharded = True
    row_numbers: Tensor | None = None
    column_numbers: Tensor | None = None

    def __init__(
        self, values: Tensor, pattern: Pattern, row_share: Share, column_share: Share | None
    ) -> None:
        super().__init__(values, pattern)
        self.row_share, self.column_share = row_share, column_share
        self.first_row = row_share.begin
        self._routes: _Routes | None = None
        self._record: _Record | None = None

    @classmethod
    def of(
        cls, weight: SparseWeight, row_share: Share, column_share: Share | None
    ) -> ShardedWeight:
        """Return this rank's rows of a whole weight."""
        crow, chosen = own_links(weight.crow_indices, row_share)
        pattern = Pattern.of(Links(crow, weight.col_indices[chosen], weight.shape[1]))
        made = cls(weight.values.detach()[chosen], pattern, row_share, column_share)
        made.values.requires_grad_(weight.values.requires_grad)
        for name in ("frozen_pattern", "first_gain"):
            setattr(made, name, getattr(weight, name))
        made.blocks = (row_share.end - row_share.begin,) * row_share.blocks
        return made

    @property
    def halo(self) -> int:
        """Number of columns that come from other ranks at each product."""
        routes = self.routes()
        return 0 if routes is None else routes.forward.volume

    def routes(self) -> _Routes | None:
        """Return which rows travel, made anew after a rewiring, on all ranks together."""
        if self.column_share is None:
            return None
        if self._routes is None or self._routes.version != self.topology_version:
            self._routes = _Routes(self, self.row_share, self.column_share)
        return self._routes

    @contextmanager
    def sequence(self) -> Iterator[None]:
        """Let all products within the block share one gradient of the values."""
        self._record = _Record(self)
        try:
            yield
        finally:
            self._record = None

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return ``x @ W.T + bias`` for own columns of ``x`` and own rows of the result.

        Raises:
            ValueError: a rule would read dense gradients, of which no rank has all.
        """
        if self.captured is not None:
            raise ValueError(
                "expected a method whose links grow without gradients, such as SET, for a weight "
                "of which each rank has some rows, found one that reads dense gradients"
            )
        if self.column_share is None:
            return super().forward(x, bias)
        record = _Record(self) if self._record is None else self._record
        flat = x.reshape(-1, x.shape[-1])
        y = _Product.apply(flat, record.token, bias, record)
        return y.reshape(*x.shape[:-1], y.shape[-1])


def own_links(crow: Tensor, share: Share) -> tuple[Tensor, Tensor]:
    """Return the row pointers of this rank's rows, and the links in them, of a whole matrix."""
    rows = share.globally(torch.arange(share.size))
    lengths = crow.diff()[rows]
    own = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    chosen = torch.arange(int(own[-1])) + torch.repeat_interleave(crow[rows] - own[:-1], lengths)
    return own, chosen


class _Routes:
    """The products of a weight and of the transposed slice of its own columns."""

    def __init__(self, weight: ShardedWeight, rows: Share, columns: Share) -> None:
        self.version = weight.topology_version
        pattern = weight.pattern
        self.forward = Halo(pattern.crow, pattern.col, columns)
        # Links sorted by column are sorted by the owner of the column, too.
        self.sent = pattern.permutation
        cuts = pattern.t_crow[torch.tensor(columns.bounds)]
        self.counts = cuts.diff().tolist()
        self.received = counts_of_others(self.counts, rows.group)
        column = torch.repeat_interleave(pattern.t_crow.diff())
        row = rows.globally(pattern.t_col.long())
        both = exchange(torch.stack([column, row], 1), self.counts, self.received, rows.group)
        column, row = both[:, 0] - columns.begin, both[:, 1]
        self.order = (column * rows.units * rows.blocks + row).argsort().int()
        lengths = torch.bincount(column, minlength=columns.size)
        crow = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
        self.backward = Halo(crow, row[self.order].int(), rows)

    def twins(self, values: Tensor, group: Any) -> Tensor:
        """Return the values of the links of own columns, from the ranks that own their rows."""
        return exchange(values[self.sent], self.counts, self.received, group)[self.order]


class _Record:
    """Factors of the gradient of the values, of all products in a sequence."""

    def __init__(self, weight: ShardedWeight) -> None:
        self.weight = weight
        self.twins: Tensor | None = None
        self.backward_pass = -1
        self.gradient: Tensor | None = None
        self.left: list[tuple[Tensor, Tensor]] = []
        self.token = _Begin.apply(weight.values, self)

    def add(self, du: Tensor, x: Tensor) -> None:
        """Add the factors of a product, ``[rows, n]`` and ``[columns, n]``.

        A pass that asks for other gradients alone leaves factors behind, which are dropped.
        """
        if self.backward_pass != backward_pass():
            self.backward_pass, self.gradient, self.left = backward_pass(), None, []
        self.left.append((du, x))
        if sum(each.shape[1] for each, _ in self.left) >= COLUMNS:
            self.sum_up()

    def sum_up(self) -> None:
        """Add the products of the factors that are left to the gradient, and drop them."""
        if not self.left:
            return
        factors = [
            each[0] if len(each) == 1 else torch.cat(each, 1)
            for each in zip(*self.left, strict=True)
        ]
        pattern = self.weight.pattern
        links = one_way(pattern.crow, pattern.col, pattern.shape[1])
        part = native.sddmm([*links], *factors)
        self.gradient = part if self.gradient is None else self.gradient.add_(part)
        self.left = []


class _Begin(torch.autograd.Function):
    """Nothing that all products of a sequence depend on, so that its gradient comes last."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, record: _Record) -> Tensor:
        ctx.record = record
        return values.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, None]:
        ctx.record.sum_up()
        gradient, ctx.record.gradient = ctx.record.gradient, None
        return gradient, None


class _Product(torch.autograd.Function):
    """Product of own rows of a weight, ``[batch, own columns]`` to ``[batch, own rows]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, token: Tensor, bias: Tensor | None, record: _Record) -> Tensor:
        weight = record.weight
        routes: Any = weight.routes()
        y, read = routes.forward.times(weight.values.detach(), x.t().contiguous(), bias)
        ctx.record, ctx.routes = record, routes
        ctx.save_for_backward(read if ctx.needs_input_grad[1] else None)
        return y.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        record, routes, turned = ctx.record, ctx.routes, dy.t().contiguous()
        needs_x, needs_values, needs_bias, _ = ctx.needs_input_grad
        dx = dvalues = None
        if needs_x:
            if record.twins is None:
                weight = record.weight
                record.twins = routes.twins(weight.values.detach(), weight.row_share.group)
            dx = routes.backward.times(record.twins, turned)[0].t()
        if needs_values:
            record.add(turned, *ctx.saved_tensors)
            dvalues = turned.new_zeros(())
        return dx, dvalues, column_sums(turned) if needs_bias else None, None
