"""One rewiring of one weight: new links, and everything that belongs to links carried along."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern, RandomKey, Rewired, carry, carry_, rewire
from sparse_engine.topology.birth import Birth
from sparse_engine.topology.grow import Grow


@torch.no_grad()
def rewire_weight(
    weight: SparseWeight,
    optimizer: Optimizer | None,
    *,
    dropped: Tensor,
    count: int,
    grow: Grow,
    birth: Birth,
    key: RandomKey,
) -> Rewired:
    """Removes links and grows others, in place.

    The Parameter object stays, and where as many links grow as go, its storage and length too. A
    surviving link keeps its value, its gradient and its optimizer state; a new one starts with the
    value that ``birth`` gives it and with state 0. So do the weight's other link parameters, of
    which new links have the entries of a fresh weight.

    Args:
        weight: the weight to rewire.
        optimizer: whose state is carried along, or None.
        dropped: bool ``[nnz]``, true where a link goes.
        count: how many links grow.
        grow: where they grow.
        birth: what they start with.
        key: this rewiring's own stream of random numbers.

    Returns:
        The new links with the map from old to new slots.

    Raises:
        ValueError: a weight whose pattern is frozen, or a grow rule that returned an existing link
            or another number of cells.
    """
    if weight.frozen_pattern:
        raise ValueError(f"expected a weight whose pattern is not frozen, found {weight}")
    keep = ~dropped
    links = weight.pattern.links
    cells = grow.grow_after(weight, dropped, count, key)
    if cells.shape != (count,):
        raise ValueError(f"expected {count} cells from {grow}, found shape {[*cells.shape]}")
    rewired = rewire(links, keep, cells)
    nnz, born = rewired.links.nnz, rewired.born.long()
    # The other rules draw from other hashes of the same key.
    generator = torch.Generator().manual_seed(hash((*key, 3)) % 2**63)
    first = {"values": birth.values(weight, count, key)}
    first |= weight.newborn(count, generator=generator, dtype=weight.dtype)
    entries, attached = {}, []
    for name in weight.link_parameters:
        parameter = getattr(weight, name)
        entries[name] = carry(parameter, rewired.slot_map, nnz)
        entries[name][born] = first[name].to(parameter.device)
        attached.append((parameter, parameter.grad, _link_state(optimizer, parameter)))
    weight.set_pattern(Pattern.of(rewired.links), **entries)
    for parameter, gradient, state in attached:
        parameter.grad = _carried(gradient, rewired, nnz)
        for name, tensor in state.items():
            optimizer.state[parameter][name] = _carried(tensor, rewired, nnz)
    return rewired


def check_whole(weight: SparseWeight) -> None:
    """Raise ValueError for a weight of which this process has only a part.

    A rewiring looks at all links of a weight, in every process alike.
    """
    for name in weight.link_parameters:
        # What a DTensor has; its module takes a second to import.
        if hasattr(getattr(weight, name), "placements"):
            raise ValueError(
                f"expected all {name} of {weight} in each process to rewire it, found them "
                "distributed, as by fully_shard; train with DistributedDataParallel, or give "
                "fully_shard the parameters of sparse weights as ignored_params and average their "
                "gradients over the processes"
            )


def _link_state(optimizer: Optimizer | None, parameter: Tensor) -> dict[str, Tensor]:
    """The entries of an optimizer's state that have one number per link."""
    state = {} if optimizer is None else optimizer.state.get(parameter, {})
    return {
        name: entry
        for name, entry in state.items()
        if isinstance(entry, Tensor) and entry.shape == parameter.shape
    }


def _carried(tensor: Tensor | None, rewired: Rewired, nnz: int) -> Tensor | None:
    """The same entries at the links' new places, in the same tensor if it has the right length."""
    if tensor is None:
        return None
    if tensor.numel() != nnz:
        return carry(tensor.contiguous(), rewired.slot_map, nnz)
    if tensor.is_contiguous():
        return carry_(tensor, rewired.slot_map)
    return tensor.copy_(carry(tensor.contiguous(), rewired.slot_map, nnz))
