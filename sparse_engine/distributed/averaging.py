"""Averages of models whose links differ: local SGD of ranks that rewire on their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from sparse_engine.distributed.share import counts_of_others, exchange
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.ops.topology import largest, rewire
from sparse_engine.topology.grow import ZeroInit
from sparse_engine.topology.rewiring import apply_rewiring


@torch.no_grad()
def average_links(model: nn.Module, optimizer: Optimizer | None = None, group: Any = None) -> None:
    """Average the models of all ranks over the union of their links, in place.

    The values of a weight are averaged as if absent links were 0, and of the union as many links
    stay as the first rank has, those of largest magnitude, at equal magnitudes the first. Other
    parameters are averaged. All ranks end with the same model; each keeps its own optimizer state
    at the links that it had.

    With ranks that train and rewire alone in between, this is the synchronous WASSP of Curci et
    al. (2021) with local steps, and one call at the end is the last phase of their WASAP.

    Args:
        model: the model; its sparse weights have the same shapes on all ranks.
        optimizer: its optimizer, whose state moves with the links, or None.
        group: the process group; None for all ranks.

    Raises:
        ValueError: a weight whose links cannot be replaced, or one with several link parameters.

    Example:
        >>> rewiring = SET(model, optimizer, seed=rank)
        >>> rewiring.process_group = torch.distributed.new_subgroups(group_size=1)[0]
        >>> for step, (x, y) in enumerate(batches_of(rank)):
        ...     train(model, optimizer, x, y)
        ...     rewiring.step()
        ...     if step % 100 == 99:
        ...         average_links(model, optimizer)
    """
    weights = [each for each in model.modules() if isinstance(each, SparseWeight)]
    for weight in weights:
        weight.check_rewirable()
        if len(weight.link_parameters) > 1:
            raise ValueError(
                f"expected weights with one number for each link, found {weight.link_parameters}"
            )
    of_links = {id(weight.values) for weight in weights}
    ranks = distributed.get_world_size(group)
    for parameter in model.parameters():
        if id(parameter) not in of_links:
            distributed.all_reduce(parameter.data, group=group)
            parameter.data /= ranks
    for weight in weights:
        _average(weight, optimizer, group, ranks)


def _average(weight: SparseWeight, optimizer: Optimizer | None, group: Any, ranks: int) -> None:
    own = weight.pattern.links.positions()
    counts = counts_of_others([weight.nnz] * ranks, group)

    def of_all(entries: Tensor) -> Tensor:
        return exchange(entries.repeat(ranks), [weight.nnz] * ranks, counts, group)

    union, place = of_all(own).unique(return_inverse=True)
    # Ranks are added one by one, in the same order on each.
    mean = weight.values.new_zeros(len(union))
    for places, values in zip(
        place.split(counts), of_all(weight.values.detach()).split(counts), strict=True
    ):
        mean[places] += values
    mean /= ranks
    stays = largest(mean.abs(), counts[0])
    chosen, mean = union[stays], mean[stays]
    grown = chosen[torch.isin(chosen, own, assume_unique=True, invert=True)]
    kept = torch.isin(own, chosen, assume_unique=True)
    rewired = rewire(weight.pattern.links, kept, grown)
    apply_rewiring(weight, optimizer, rewired, ZeroInit(), RandomKey(0))
    weight.values.copy_(mean)
