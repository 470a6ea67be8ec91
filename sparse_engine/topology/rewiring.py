"""One rewiring of one weight: new links, and everything that belongs to links carried along."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, Pattern, RandomKey, Rewired, Use, carry, carry_, rewire
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
    keep_returning: bool = False,
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
        keep_returning: whether a link that grows where one was removed survives instead.

    Returns:
        The new links with the map from old to new slots.

    Raises:
        ValueError: a weight whose pattern is frozen, or a grow rule that returned an existing link
            or another number of cells; the weight is then as before.
    """
    rewired = chosen_links(weight, dropped, count, grow, key, keep_returning)
    give_links(weight, optimizer, rewired, birth, key)
    return rewired


def chosen_links(
    weight: SparseWeight,
    dropped: Tensor,
    count: int,
    grow: Grow,
    key: RandomKey,
    keep_returning: bool,
) -> Rewired:
    """Return what :func:`rewire_weight` makes of a weight's links; the weight stays as it is."""
    if weight.frozen_pattern:
        raise ValueError(f"expected a weight whose pattern is not frozen, found {weight}")
    entries = {name: getattr(weight, name) for name in weight.link_parameters}
    weight.check_pattern(weight.pattern, **entries)
    links = weight.pattern.links
    cells = grow.grow_after(weight, dropped, count, key)
    if cells.shape != (count,):
        raise ValueError(f"expected {count} cells from {grow}, found shape {[*cells.shape]}")
    rewired = rewire(links, ~dropped, cells)
    return _with_returning(rewired, links, dropped, cells) if keep_returning else rewired


def _with_returning(rewired: Rewired, links: Links, dropped: Tensor, cells: Tensor) -> Rewired:
    """Makes survivors of the links that were removed and grew again."""
    gone = dropped.nonzero().squeeze(1)
    gone_cells = links.cells()[gone]
    returning = torch.isin(cells, gone_cells, assume_unique=True)
    slot_map = rewired.slot_map.clone()
    # Both are in the order of cells.
    slot_map[gone[torch.isin(gone_cells, cells, assume_unique=True)]] = rewired.born[returning]
    return rewired._replace(slot_map=slot_map, born=rewired.born[~returning])


@torch.no_grad()
def give_links(
    weight: SparseWeight,
    optimizer: Optimizer | None,
    rewired: Rewired,
    birth: Birth,
    key: RandomKey,
) -> None:
    """Give a weight the links of :func:`chosen_links`, and carry along what belongs to links."""
    nnz, born = rewired.links.nnz, rewired.born.long()
    generator = key.torch_generator(Use.NEWBORN)
    first = {"values": birth.values(weight, len(born), key)}
    first |= weight.newborn(len(born), generator=generator, dtype=weight.dtype)
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
