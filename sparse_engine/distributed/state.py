"""Whole states of distributed networks, which load at any number of ranks, or undistributed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparse_engine.distributed.share import Share, counts_of_others, exchange, gather_rows
from sparse_engine.distributed.weight import ShardedWeight, own_links

State = dict[str, Any]


def whole_state_dict(
    model: nn.Module, optimizer: Optimizer | None = None
) -> tuple[dict[str, Tensor], State]:
    """Return the whole states of a model with distributed units, and of its optimizer.

    Equal on all ranks, for any number of them; every rank has to call it. Names and shapes are
    those of the network before :func:`shard`, but for dense input weights, whose entries are the
    values of a weight with all links. Save them as any state dict, on one rank.

    Args:
        model: a model with networks that :func:`shard` has distributed.
        optimizer: its optimizer, or None.

    Returns:
        The state dict of the model, and the state of the optimizer: for the name of each parameter
        the entries of its state.
    """
    state, of_optimizer = dict(model.state_dict()), {}
    for name, tensor in state.items():
        gathered = _gatherer(model, name)
        state[name] = gathered(tensor)
    for name, parameter in model.named_parameters() if optimizer is not None else ():
        gathered = _gatherer(model, name)
        of_optimizer[name] = {
            kind: gathered(entry) if _fits(entry, parameter) else entry
            for kind, entry in optimizer.state.get(parameter, {}).items()  # type: ignore[union-attr]
        }
    return state, of_optimizer


def load_whole_state_dict(
    model: nn.Module,
    state: dict[str, Tensor],
    optimizer: Optimizer | None = None,
    of_optimizer: State | None = None,
) -> None:
    """Load states that :func:`whole_state_dict` returned, each rank its own units.

    Args:
        model: a model like the one whose state it is, with any number of ranks.
        state: the state of the model.
        optimizer: its optimizer, or None.
        of_optimizer: the state of the optimizer.

    Raises:
        RuntimeError: entries missing, unexpected, or of another shape.
    """
    own: dict[str, Tensor] = {}
    chosen: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():
        if isinstance(module, ShardedWeight) and f"{prefix}.crow_indices" in state:
            crow = state[f"{prefix}.crow_indices"]
            if crow.numel() != module.row_share.units * module.row_share.blocks + 1:
                raise RuntimeError(
                    f"expected {prefix} of {module.row_share.units * module.row_share.blocks} "
                    f"rows, found {crow.numel() - 1}"
                )
            own[f"{prefix}.crow_indices"], chosen[prefix] = own_links(crow, module.row_share)

    def mine(name: str, tensor: Tensor) -> Tensor:
        parent, _, kind = name.rpartition(".")
        if parent in chosen:
            return own[name] if kind == "crow_indices" else tensor[chosen[parent]]
        share = _share_of(model, name, len(tensor) if tensor.dim() else 0)
        return tensor if share is None else share.own(tensor)

    model.load_state_dict({name: mine(name, tensor) for name, tensor in state.items()})
    for name, parameter in model.named_parameters() if optimizer is not None else ():
        entries = (of_optimizer or {}).get(name)
        if entries:
            optimizer.state[parameter] = {  # type: ignore[union-attr]
                kind: mine(name, entry).clone() if _has_entries(entry) else entry
                for kind, entry in entries.items()
            }


def _has_entries(entry: object) -> bool:
    return isinstance(entry, Tensor) and entry.dim() > 0


def _fits(entry: object, parameter: Tensor) -> bool:
    return isinstance(entry, Tensor) and entry.shape == parameter.shape


def _gatherer(model: nn.Module, name: str) -> Any:
    """Return the function that makes an entry of a state dict whole."""
    parent, _, kind = name.rpartition(".")
    module = model.get_submodule(parent)
    if isinstance(module, ShardedWeight):
        return (lambda _: _whole_crow(module)) if kind == "crow_indices" else _of_links(module)
    if units := _units_of(module):

        def gathered(tensor: Tensor) -> Tensor:
            share = _own_share(units, len(tensor) if tensor.dim() else 0)
            return tensor if share is None else gather_rows(tensor, share)

        return gathered
    return lambda tensor: tensor


def _own_share(units: Share, size: int) -> Share | None:
    """Return the share of an own tensor of some length, or None for one that is not shared."""
    blocks, rest = divmod(size, units.size)
    return units._replace(blocks=blocks) if blocks and not rest else None


def _share_of(model: nn.Module, name: str, size: int) -> Share | None:
    units = _units_of(model.get_submodule(name.rpartition(".")[0]))
    if units is None:
        return None
    blocks, rest = divmod(size, units.units)
    return units._replace(blocks=blocks) if blocks and not rest else None


def _units_of(module: nn.Module) -> Share | None:
    """Return the shares of the units of a distributed network, and None for other modules."""
    return getattr(module, "unit_share", None)


def _whole_crow(weight: ShardedWeight) -> Tensor:
    lengths = gather_rows(weight.crow_indices.diff(), weight.row_share)
    return nn.functional.pad(lengths.cumsum(0), (1, 0))


def _of_links(weight: ShardedWeight) -> Any:
    """Return the function from entries of own links to those of all, in their order."""
    share, crow = weight.row_share, _whole_crow(weight)
    ranks = len(share.sizes)
    counts = counts_of_others([weight.nnz] * ranks, share.group)
    places = torch.cat([own_links(crow, share._replace(rank=rank))[1] for rank in range(ranks)])

    def gathered(own: Tensor) -> Tensor:
        found = exchange(own.detach().repeat(ranks), [len(own)] * ranks, counts, share.group)
        return torch.empty_like(found).index_copy_(0, places, found)

    return gathered
