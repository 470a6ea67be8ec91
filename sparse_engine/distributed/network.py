"""Recurrent networks of which each rank owns some units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sparse_engine.distributed.order import Order, in_blocks, relabelled
from sparse_engine.distributed.same_bits import SameBits
from sparse_engine.distributed.share import Share, gather_rows
from sparse_engine.distributed.weight import ShardedWeight
from sparse_engine.nn.sequence import Sequence
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Links, Pattern

if TYPE_CHECKING:
    from sparse_engine.nn import Recurrent


def shard(network: Recurrent, group: Any, *, order: Order | Tensor | None = None) -> None:
    """Leave each rank of a process group its units of a network, in place.

    Afterwards the network takes and returns whole tensors on every rank, as before. Each rank
    computes its own units, and trains their parameters: optimizers are made after it. Results,
    gradients and trained values have the same bits for any number of ranks. Every rank has to call
    the network, and to differentiate it, in the same order with the same arguments.

    Args:
        network: a network, the same on all ranks, of a cell whose units depend on each other by
            products only: an RNN, LSTM, GRU or MGU, or a CTRNN or rate network.
        group: the process group, such as ``torch.distributed.group.WORLD``; on the CPU.
        order: the order in which units are shared out, the same on all ranks: one of
            :func:`partition`, or a permutation, int64 ``[units]``. Inputs and results are in the
            network's own order. The same bits need the same order.

    Raises:
        ValueError: a cell or an option that needs all units of a layer at once, fewer units than
            ranks, or an order that is no permutation of the units.

    Example:
        >>> shard(network, torch.distributed.group.WORLD)  # before its optimizer is made
    """
    _check(network)
    bounds = order.bounds if isinstance(order, Order) else ()
    numbers = order.units if isinstance(order, Order) else order
    if numbers is not None and not _is_permutation(numbers, network.hidden_size):
        raise ValueError(
            f"expected an order with each of {network.hidden_size} units once, found "
            f"{numbers.dtype} of shape {[*numbers.shape]}"
        )
    links = torch.zeros(network.hidden_size, dtype=torch.int64)
    for layer, _ in network.layers():
        for weight in network.recurrent_weights(layer):
            links += weight.fan_in().unflatten(0, (-1, network.hidden_size)).sum(0)
    units = Share.balanced(links if numbers is None else links[numbers], group)
    if len(bounds) == len(units.bounds):
        units = units._replace(bounds=bounds)
    if min(units.sizes) < 1:
        raise ValueError(
            f"expected at least one unit for each of {len(units.sizes)} ranks, found "
            f"{network.hidden_size} units"
        )
    rows = units._replace(blocks=len(network.blocks))
    for number, (layer, _) in enumerate(network.layers()):
        for kind in network._kinds:
            name = f"{kind}_{layer}"
            value = getattr(network, name)
            if kind.startswith("weight"):
                given = kind == "weight_ih" and number == 0
                whole = value if isinstance(value, SparseWeight) else _complete(value)
                of_rows = None if numbers is None else in_blocks(numbers, rows.blocks)
                of_columns = None if given else numbers
                whole = _renumbered(whole, of_rows, of_columns)
                mine = ShardedWeight.of(whole, rows, None if given else units)
                mine.row_numbers, mine.column_numbers = of_rows, of_columns
                network._parameters.pop(name, None)
                network._modules[name] = mine
            elif value is not None:
                share = rows if len(value) == rows.blocks * rows.units else units
                ordered = value.detach()
                if numbers is not None:
                    ordered = ordered[in_blocks(numbers, share.blocks)]
                own = share.own(ordered).clone()
                held = isinstance(value, nn.Parameter)
                store: Any = network._parameters if held else network._buffers
                store[name] = nn.Parameter(own, value.requires_grad) if held else own
    network.unit_share, network.unit_numbers = units, numbers


def _check(network: Recurrent) -> None:
    cell = network.cell
    if not cell.unitwise:
        raise ValueError(
            "expected a cell whose units depend on each other by products only, to distribute "
            f"them, found {type(cell).__name__}"
        )
    if network.unit_share is not None:
        raise ValueError("expected a network that is not distributed yet, found one that is")
    refused = {
        "layer_norm": getattr(cell, "layer_norm", False),
        "proj_size": getattr(cell, "proj_size", 0),
        "sigma": getattr(cell, "sigma", 0),
        "groups": getattr(cell, "first_groups", None) is not None,
        "zoneout": cell.zoneout,
        "dropout": network.dropout,
        "bidirectional": network.bidirectional,
        "checkpoint_every": network.checkpoint_every,
    }
    found = [name for name, value in refused.items() if value]
    if found:
        raise ValueError(
            f"expected a network without {', '.join(refused)} to distribute its units, found "
            f"{', '.join(found)}"
        )
    if next(network.parameters()).device.type != "cpu":
        raise ValueError("expected a network on the CPU to distribute its units")


def _is_permutation(numbers: Tensor, count: int) -> bool:
    return numbers.shape == (count,) and torch.equal(numbers.sort().values, torch.arange(count))


def _renumbered(weight: SparseWeight, rows: Tensor | None, columns: Tensor | None) -> SparseWeight:
    """Return a weight whose rows and columns are those of the given numbers, in their order."""
    if rows is None and columns is None:
        return weight
    places = (None if each is None else each.argsort() for each in (rows, columns))
    crow, col, order = relabelled(weight.crow_indices, weight.col_indices, *places)
    made = SparseWeight(
        weight.values.detach()[order], Pattern.of(Links(crow, col, weight.shape[1]))
    )
    made.values.requires_grad_(weight.values.requires_grad)
    made.frozen_pattern, made.first_gain = weight.frozen_pattern, weight.first_gain
    return made


def _complete(weight: nn.Parameter) -> SparseWeight:
    """Return a dense weight as one whose links all exist, and stay."""
    rows, columns = weight.shape
    crow = torch.arange(rows + 1) * columns
    col = torch.arange(columns, dtype=torch.int32).repeat(rows)
    made = SparseWeight(weight.detach().flatten(), Pattern.of(Links(crow, col, columns)))
    made.values.requires_grad_(weight.requires_grad)
    made.frozen_pattern = True
    return made


def run(network: Recurrent, sequence: Sequence, starts: Any) -> tuple[Tensor, ...]:
    """Run all layers on own units; return whole outputs of the last, and whole final states.

    Raises:
        ValueError: sequences of different lengths, or an input that needs a gradient.
    """
    _share, cell = network.unit_share, network.cell
    if sequence.batch_sizes is not None:
        raise ValueError("expected sequences of one length for distributed units, found others")
    if sequence.x.requires_grad:
        raise ValueError(
            "expected an input that needs no gradient for distributed units, found one that does"
        )
    ends: list[tuple[Tensor, ...]] = []
    for number, (name, _) in enumerate(network.layers()):
        layer = network.layer(name)
        start = tuple(_own_state(states[number], network, sequence) for states in starts)
        recurrent = layer["weight_hh"]
        with SameBits(), recurrent.sequence(), torch.autocast("cpu", enabled=False):
            v = _by_units(cell.input_sums(layer, sequence.x))
            y, *end = cell.run_steps(layer, sequence, start, v)
        ends.append(tuple(end))
        sequence = sequence._replace(x=cell.to_next_layer(y))
    finals = [[_whole(each, network) for each in states] for states in zip(*ends, strict=True)]
    return _whole(y, network), *(torch.stack(states) for states in finals)


def _whole(own: Tensor, network: Recurrent) -> Tensor:
    whole, numbers = Whole.apply(own, network.unit_share), network.unit_numbers
    return whole if numbers is None else whole.index_select(-1, numbers.argsort())


def _own_state(state: Tensor | None, network: Recurrent, sequence: Sequence) -> Tensor:
    share, numbers = network.unit_share, network.unit_numbers
    if state is None:
        return sequence.x.new_zeros(share.size, sequence.batch).t()
    return Own.apply(state if numbers is None else state.index_select(-1, numbers), share)


def _by_units(v: Tensor) -> Tensor:
    """Return ``[steps, batch, units]`` with the batch innermost in memory, as products are."""
    return v.transpose(1, 2).contiguous().transpose(1, 2)


class Own(torch.autograd.Function):
    """This rank's units of ``[..., units]``, with the batch innermost in memory."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, share: Share) -> Tensor:
        """Take the units."""
        ctx.share = share
        return share.own(whole.transpose(0, -1)).contiguous().transpose(0, -1)

    @staticmethod
    def backward(ctx: Any, own: Tensor) -> tuple[Tensor, None]:
        """Gather the gradients of all units."""
        return gather_rows(own.transpose(0, -1).contiguous(), ctx.share).transpose(0, -1), None


class Whole(torch.autograd.Function):
    """All units ``[..., units]`` on every rank; all have the same gradient of them."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, share: Share) -> Tensor:
        """Gather the units of all ranks."""
        ctx.share = share
        return gather_rows(own.transpose(0, -1).contiguous(), share).transpose(0, -1).contiguous()

    @staticmethod
    def backward(ctx: Any, whole: Tensor) -> tuple[Tensor, None]:
        """Take the gradients of own units."""
        return ctx.share.own(whole.transpose(0, -1)).contiguous().transpose(0, -1), None
