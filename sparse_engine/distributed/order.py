"""Orders of units in which ranks read few units of each other, by hypergraph partition."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sparse_engine.extras import extra
from sparse_engine.nn.options import check_number
from sparse_engine.nn.weight import SparseWeight


class Order(NamedTuple):
    """Order of the units of a network for some number of ranks.

    Attributes:
        units: int64 ``[units]``, the number of the unit at each place.
        bounds: ``[ranks + 1]``, the first place of each rank, and the number of units.
        halo: rows that all ranks together receive at each step.
        contiguous_halo: the same for the units in their own order, cut into ranks of equal links.

    Example:
        >>> shard(network, group, order=partition(network.weight_hh_l0, ranks=4))
    """

    units: Tensor
    bounds: tuple[int, ...]
    halo: int
    contiguous_halo: int

    def __str__(self) -> str:
        ratio = self.halo / max(1, self.contiguous_halo)
        return (
            f"{len(self.bounds) - 1} ranks, {self.halo:,} rows from other ranks at each step, "
            f"{ratio:.2f} of the {self.contiguous_halo:,} of the contiguous order"
        )


def partition(weight: SparseWeight, ranks: int, *, imbalance: float = 0.03, seed: int = 0) -> Order:
    """Return an order of units in which ranks receive few rows of each other.

    Units are the nodes of a hypergraph, weighted by their links; a net joins each unit with the
    units that read it. The number of parts that a net touches but one, summed over nets, is the
    number of rows that travel at each step, and Mt-KaHyPar (Gottesbueren et al. 2023) makes it
    small. In each part, units that read no other part come first, so that they are multiplied
    while rows travel. Takes a few seconds for a million links; needs ``mtkahypar``, of the extra
    ``distributed``.

    Args:
        weight: the recurrent weight; blocks of rows, such as gates, belong to the same units.
        ranks: number of ranks, at least 2.
        imbalance: how much more links than the mean a rank may have, above 0.
        seed: seed of the partitioner.

    Raises:
        ValueError: fewer than 2 ranks, or an imbalance of 0 or less.
        MissingLibrary: mtkahypar is not installed.

    Example:
        >>> order = partition(rnn.weight_hh_l0, 2)
        >>> print(order)
        2 ranks, 310 rows from other ranks at each step, 0.31 of the 1,000 of the contiguous order
        >>> shard(rnn, torch.distributed.group.WORLD, order=order)
    """
    check_number("ranks of at least 2", ranks, lambda count: count >= 2)
    check_number("imbalance above 0", imbalance, lambda share: 0 < share < 1)
    target, source, count = _edges(weight)
    links = torch.bincount(target, minlength=count)
    part = _parts(target, source, count, links, ranks, imbalance, seed)
    foreign = torch.zeros(count, dtype=torch.bool)
    foreign[target[part[target] != part[source]]] = True
    units = (2 * part + foreign).argsort(stable=True)
    sizes = torch.bincount(part, minlength=ranks)
    bounds = (0, *sizes.cumsum(0).tolist())
    return Order(
        units,
        bounds,
        _volume(target, source, part, ranks),
        _volume(target, source, _contiguous(links, ranks), ranks),
    )


def _edges(weight: SparseWeight) -> tuple[Tensor, Tensor, int]:
    """Return the units that links lead to and come from, each pair once, and how many there are."""
    count = weight.shape[1]
    pairs = (weight.rows() % count) * count + weight.col_indices
    if weight.shape[0] != count:
        pairs = pairs.unique()
    return pairs // count, pairs % count, count


def _contiguous(links: Tensor, ranks: int) -> Tensor:
    """Return the rank of each unit if units in their order are cut into ranks of equal links."""
    cost = (links + 1).cumsum(0)
    return ((cost - 1) * ranks // int(cost[-1])).clamp(max=ranks - 1)


def _volume(target: Tensor, source: Tensor, part: Tensor, ranks: int) -> int:
    """Return the number of units that parts read of other parts, each once for each such part."""
    foreign = part[target] != part[source]
    return (source * ranks + part[target])[foreign].unique().numel()


def _parts(
    target: Tensor,
    source: Tensor,
    count: int,
    links: Tensor,
    ranks: int,
    imbalance: float,
    seed: int,
) -> Tensor:
    with extra("distributed"):
        import mtkahypar

    by_source = source.argsort(stable=True)
    ends = torch.bincount(source, minlength=count).cumsum(0)[:-1]
    readers = np.split(target[by_source].numpy(), ends.numpy())
    nets = [np.union1d(each, [unit]).tolist() for unit, each in enumerate(readers)]
    mtkahypar.set_seed(seed)
    engine: Any = _engine(mtkahypar)
    context = engine.context_from_preset(mtkahypar.PresetType.DETERMINISTIC_QUALITY)
    context.set_partitioning_parameters(ranks, imbalance, mtkahypar.Objective.KM1)
    context.logging = False
    weights = (links + 1).tolist()
    graph = engine.create_hypergraph(context, count, count, nets, weights, [1] * count)
    found = graph.partition(context)
    return torch.tensor([found.block_id(unit) for unit in range(count)])


_engines: list[Any] = []


def _engine(mtkahypar: Any) -> Any:
    """Return the partitioner of this process, which can be started once."""
    if not _engines:
        _engines.append(mtkahypar.initialize(torch.get_num_threads()))
    return _engines[0]


def relabelled(
    crow: Tensor, col: Tensor, rows: Tensor | None, columns: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the links of a matrix whose rows and columns have other numbers.

    Args:
        crow: int64 ``[rows + 1]``.
        col: int32 ``[nnz]``.
        rows: the new number of each row, or None.
        columns: the new number of each column, or None.

    Returns:
        The new ``crow`` and ``col``, and the old place of each link.
    """
    row = torch.repeat_interleave(crow.diff())
    row = row if rows is None else rows[row]
    column = col.long() if columns is None else columns[col.long()]
    width = 1 + (int(column.max()) if column.numel() else 0)
    order = (row * width + column).argsort()
    lengths = torch.bincount(row, minlength=crow.numel() - 1)
    return nn.functional.pad(lengths.cumsum(0), (1, 0)), column[order].int(), order


def in_blocks(units: Tensor, blocks: int) -> Tensor:
    """Return the rows of units, in each of some blocks of all units."""
    first = torch.arange(blocks)[:, None] * len(units)
    return (first + units).flatten()
