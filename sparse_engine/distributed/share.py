"""Units of a layer that each rank owns: contiguous, and with about as many links each."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed


class Share(NamedTuple):
    """Rows or columns of a matrix that each rank owns: in every block the same range of units.

    Attributes:
        bounds: ``[ranks + 1]``, the first unit of each rank, and the number of units.
        rank: this process.
        blocks: number of blocks of rows, such as the gates of a cell.
        group: the process group.
    """

    bounds: tuple[int, ...]
    rank: int
    blocks: int
    group: Any

    @classmethod
    def balanced(cls, links: Tensor, group: Any, blocks: int = 1) -> Share:
        """Cut units so that ranks own about as many links, given ``links`` of each unit."""
        ranks = distributed.get_world_size(group)
        # A unit costs about as much as a link beside its links, and no rank may have none.
        cost = torch.nn.functional.pad((links + 1).cumsum(0), (1, 0)).double()
        wanted = cost[-1] * torch.arange(1, ranks) / ranks
        cuts = torch.searchsorted(cost, wanted).tolist()
        return cls((0, *cuts, links.numel()), distributed.get_rank(group), blocks, group)

    @property
    def units(self) -> int:
        """Number of units of all ranks."""
        return self.bounds[-1]

    @property
    def begin(self) -> int:
        """The first unit of this rank."""
        return self.bounds[self.rank]

    @property
    def end(self) -> int:
        """The unit after the last of this rank."""
        return self.bounds[self.rank + 1]

    @property
    def size(self) -> int:
        """Number of rows of this rank."""
        return self.blocks * (self.end - self.begin)

    @property
    def sizes(self) -> list[int]:
        """Number of rows of each rank."""
        return [self.blocks * (end - begin) for begin, end in pairwise(self.bounds)]

    def globally(self, local: Tensor, rank: int | None = None) -> Tensor:
        """Return the rows of the whole matrix for rows of a rank; increasing ones stay so."""
        begin, end = self.bounds[self.rank if rank is None else rank :][:2]
        width = max(1, end - begin)
        return local // width * self.units + local % width + begin

    def locally(self, rows: Tensor) -> Tensor:
        """Return rows of this rank for its rows of the whole matrix."""
        return rows // self.units * (self.end - self.begin) + rows % self.units - self.begin

    def owners(self, rows: Tensor) -> Tensor:
        """Return the rank that owns each row of the whole matrix."""
        cuts = torch.tensor(self.bounds[1:-1], dtype=torch.int64)
        return torch.searchsorted(cuts, rows % self.units, right=True)

    def own(self, whole: Tensor) -> Tensor:
        """Return this rank's rows of a tensor ``[rows, ...]``."""
        return whole.unflatten(0, (self.blocks, self.units))[:, self.begin : self.end].flatten(0, 1)


def exchange(parts: Tensor, sent: list[int], received: list[int], group: Any, **how: Any) -> Any:
    """Send ``sent[r]`` rows of ``parts`` to each rank r, and return those that it sends here.

    Args:
        parts: ``[sum(sent), ...]``, the rows for rank 0 first.
        sent: number of rows for each rank.
        received: number of rows from each rank.
        group: the process group.
        **how: ``async_op=True`` returns what the rows will be, and the work to wait for.
    """
    result = parts.new_empty(sum(received), *parts.shape[1:])
    work = distributed.all_to_all_single(
        result, parts.contiguous(), received, sent, group=group, **how
    )
    return (result, work) if how.get("async_op") else result


def counts_of_others(counts: list[int], group: Any) -> list[int]:
    """Return how many rows each rank sends here, given how many this one sends to each."""
    ones = [1] * len(counts)
    return exchange(torch.tensor(counts), ones, ones, group).tolist()


def gather_rows(own: Tensor, share: Share) -> Tensor:
    """Return the rows of all ranks ``[rows, ...]``, in the order of the whole matrix."""
    ranks = len(share.sizes)
    found = exchange(own.repeat(ranks, *[1] * (own.dim() - 1)), [len(own)] * ranks, share.sizes,
                     share.group)  # fmt: skip
    if share.blocks == 1:
        return found
    whole = torch.empty_like(found)
    rows = [share.globally(torch.arange(size), rank) for rank, size in enumerate(share.sizes)]
    return whole.index_copy_(0, torch.cat(rows), found)
