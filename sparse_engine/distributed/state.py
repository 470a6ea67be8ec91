"""Whole states of distributed networks, which load at any number of ranks, or undistributed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparse_engine.distributed.order import in_blocks, relabelled
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

    Example:
        >>> state, of_optimizer = whole_state_dict(network, optimizer)
    """
    links = {
        name: _Links(module)
        for name, module in model.named_modules()
        if isinstance(module, ShardedWeight)
    }

    def whole(name: str, own: Tensor) -> Tensor:
        parent, _, kind = name.rpartition(".")
        if parent in links:
            return links[parent].whole(kind, own)
        share = _share_of(model, name, own, own=True)
        if share is None:
            return own
        gathered = gather_rows(own, share)
        numbers: Any = model.get_submodule(parent).unit_numbers
        return gathered if numbers is None else gathered[in_blocks(numbers, share.blocks).argsort()]

    state = {name: whole(name, own) for name, own in model.state_dict().items()}
    of_optimizer: State = {}
    for name, parameter in model.named_parameters() if optimizer is not None else ():
        entries = optimizer.state.get(parameter, {}).items()  # type: ignore[union-attr]
        of_optimizer[name] = {
            kind: whole(name, entry) if _fits(entry, parameter) else entry
            for kind, entry in entries
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

    Example:
        >>> load_whole_state_dict(network, state, optimizer, of_optimizer)
    """
    links: dict[str, _OwnLinks] = {}
    for name, module in model.named_modules():
        if isinstance(module, ShardedWeight) and f"{name}.crow_indices" in state:
            links[name] = _OwnLinks(module, name, state)

    def mine(name: str, whole: Tensor) -> Tensor:
        parent, _, kind = name.rpartition(".")
        if parent in links:
            return links[parent].own(kind, whole)
        share = _share_of(model, name, whole, own=False)
        if share is None:
            return whole
        numbers: Any = model.get_submodule(parent).unit_numbers
        return share.own(whole if numbers is None else whole[in_blocks(numbers, share.blocks)])

    model.load_state_dict({name: mine(name, whole) for name, whole in state.items()})
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


def _share_of(model: nn.Module, name: str, entry: Tensor, *, own: bool) -> Share | None:
    """Return the shares of the rows of an entry of a distributed network's own, or None."""
    module = model.get_submodule(name.rpartition(".")[0])
    units: Share | None = getattr(module, "unit_share", None)
    if units is None or entry.dim() == 0:
        return None
    blocks, rest = divmod(len(entry), units.size if own else units.units)
    return units._replace(blocks=blocks) if blocks and not rest else None


class _Links:
    """The links of all ranks, and the place of each rank's among them, in the user's numbers."""

    def __init__(self, weight: ShardedWeight) -> None:
        share = self.share = weight.row_share
        ranks = range(len(share.sizes))
        crow = nn.functional.pad(gather_rows(weight.fan_in(), share).cumsum(0), (1, 0))
        self.counts = counts_of_others([weight.nnz] * len(ranks), share.group)
        self.places = torch.cat([own_links(crow, share._replace(rank=r))[1] for r in ranks])
        numbers = weight.row_numbers, weight.column_numbers
        self.crow, self.col, self.order = relabelled(
            crow, self._gathered(weight.col_indices), *numbers
        )

    def whole(self, kind: str, own: Tensor) -> Tensor:
        """Return an entry of a state dict, or of an optimizer's state, for all links."""
        if kind == "crow_indices":
            return self.crow
        return self.col if kind == "col_indices" else self._gathered(own)[self.order]

    def _gathered(self, own: Tensor) -> Tensor:
        sent = [len(own)] * len(self.counts)
        found = exchange(own.detach().repeat(len(sent)), sent, self.counts, self.share.group)
        return torch.empty_like(found).index_copy_(0, self.places, found)


class _OwnLinks:
    """The links of this rank among all of a saved weight."""

    def __init__(self, weight: ShardedWeight, name: str, state: dict[str, Tensor]) -> None:
        crow, col = (state[f"{name}.{kind}_indices"] for kind in ("crow", "col"))
        rows = weight.row_share.units * weight.row_share.blocks
        if crow.numel() != rows + 1:
            raise RuntimeError(f"expected {name} of {rows} rows, found {crow.numel() - 1}")
        numbers = (weight.row_numbers, weight.column_numbers)
        places = (None if each is None else each.argsort() for each in numbers)
        crow, col, order = relabelled(crow, col, *places)
        self.crow, chosen = own_links(crow, weight.row_share)
        self.col, self.chosen = col[chosen], order[chosen]

    def own(self, kind: str, whole: Tensor) -> Tensor:
        """Return this rank's part of an entry."""
        if kind == "crow_indices":
            return self.crow
        return self.col if kind == "col_indices" else whole[self.chosen]
