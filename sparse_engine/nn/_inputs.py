"""Checks of arguments, inputs and states of recurrent networks, before any kernel runs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence as Ordered
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sparse_engine.errors import InputError
from sparse_engine.nn.sequence import Layout, Sequence
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops._autocast import is_autocast_enabled
from sparse_engine.ops._dispatch.private import check_size

if TYPE_CHECKING:
    from sparse_engine.nn.recurrent import Recurrent


def states_of(network: Recurrent, hx: Any) -> tuple[Tensor | None, ...]:
    """Return the initial states in ``hx``, one for each name in ``states``."""
    count = len(network.states)
    if count == 1:
        return (hx,)
    if hx is None:
        return (None,) * count
    if not isinstance(hx, tuple | list) or len(hx) != count:
        found = f" of {len(hx)}" if isinstance(hx, tuple | list) else ""
        names = ", ".join(network.states)
        raise TypeError(f"expected a tuple ({names}), found {type(hx).__name__}{found}")
    return tuple(hx)


def check_input(network: Recurrent, x: Any, lengths: Any, timespans: Any) -> None:
    packed, kind = isinstance(x, PackedSequence), type(network).__name__
    if not network.cell.packable and packed:
        raise TypeError(
            "expected a padded tensor, found a PackedSequence; unpack it with "
            "torch.nn.utils.rnn.pad_packed_sequence"
        )
    if not network.cell.packable and lengths is not None:
        raise TypeError(f"expected sequences of one length for {kind}, found lengths")
    if timespans is not None and not network.cell.timed:
        raise TypeError(f"expected no timespans for {kind}, found them")
    shape, dims = "[steps, batch, {}] or [steps, {}]", (2, 3)
    if packed:
        x, shape, dims = x.data, "[rows, {}]", (2, 2)
    check_tensor("input", x)
    if x.dim() not in dims or x.shape[-1] != network.input_size:
        expected = shape.replace("{}", str(network.input_size))
        raise InputError(f"expected input of shape {expected}, found {[*x.shape]}")
    by_autocast = x.dtype == torch.bfloat16 and is_autocast_enabled(x.device.type)
    if x.dtype != network.dtype and not by_autocast:
        message = f"expected input of dtype {network.dtype}, found {x.dtype}"
        raise InputError(message.replace("torch.", ""))


def initial_states(
    network: Recurrent, initial: tuple[Tensor | None, ...], layout: Layout, sequence: Sequence
) -> list[Ordered[Tensor | None]]:
    layers = network.num_layers * network.directions
    starts: list[Ordered[Tensor | None]] = []
    compiling = torch.compiler.is_compiling()
    order = layout.order
    batch = sequence.batch if order is None else order.numel()
    for name, state in zip(network.states, initial, strict=True):
        if state is None:
            starts.append([None] * layers)
            continue
        check_tensor(name, state)
        if layout.packed and order is None and compiling and state.dim() == 3:
            check_size(state.shape[1] == batch)  # a compiled graph does not know the batch
        size = network.size_of(name)
        expected = [layers, size] if layout.single else [layers, batch, size]
        if [*state.shape] != expected:
            raise InputError(f"expected {name} of shape {expected}, found {[*state.shape]}")
        if state.dtype != sequence.x.dtype and not is_autocast_enabled(state.device.type):
            message = f"expected {name} of dtype {sequence.x.dtype}, found {state.dtype}"
            raise InputError(message.replace("torch.", ""))
        starts.append(layout.read_state(state))
    return starts


def time_of_step(network: Recurrent, x: Tensor) -> int:
    """Return the dimension of time for a step ``x``, or raise ValueError."""
    if network.bidirectional:
        raise ValueError("expected a network of one direction to step, found a bidirectional")
    check_tensor("input", x)
    if x.dim() not in (1, 2):
        raise InputError(
            f"expected input of shape [batch, {network.input_size}] or [{network.input_size}], "
            f"found {[*x.shape]}"
        )
    return 1 if network.batch_first and x.dim() == 2 else 0


def timespans_of_step(network: Recurrent, x: Tensor, timespans: Any) -> Tensor:
    batch = x.shape[:-1]
    timespans = torch.as_tensor(timespans, dtype=network.dtype, device=x.device)
    if timespans.dim() and timespans.shape != batch:
        shapes = f"[] or {[*batch]}" if batch else "[]"
        raise InputError(f"expected timespans of shape {shapes}, found {[*timespans.shape]}")
    return timespans.expand(batch)


def lengths_of_unfolds(network: Recurrent, x: Tensor, timespans: Tensor | None) -> Tensor:
    of_all = x.shape[:-1]
    if timespans is None:
        return x.new_full(of_all, getattr(network.cell, "dt", 1.0), dtype=network.dtype)
    time = 1 if network.batch_first and x.dim() == 3 else 0
    # One by one: torch.compile does not find a shape in a tuple where steps vary.
    if timespans.shape != of_all and timespans.shape != of_all[time : time + 1]:
        shapes = f"[{of_all[time]}]" if x.dim() == 2 else f"[{of_all[time]}] or {[*of_all]}"
        raise InputError(f"expected timespans of shape {shapes}, found {[*timespans.shape]}")
    lengths = timespans.to(network.dtype) / getattr(network.cell, "unfolds", 1)
    if lengths.dim() < len(of_all):
        lengths = lengths.unsqueeze(1 - time)
    return lengths.expand(of_all)


def check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"expected {name} to be a tensor, found {type(value).__name__}")


def check_weight(name: str, before: object, weight: object) -> None:
    if not isinstance(before, SparseWeight) or not isinstance(weight, SparseWeight):
        return
    expected, found = ((each.shape, each.dtype) for each in (before, weight))
    if expected != found:
        message = "expected {} of shape {} and dtype {}, found {} and {}"
        raise ValueError(message.format(name, *expected, *found).replace("torch.", ""))


def warn_of_dropout(dropout: float, num_layers: int) -> None:
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout is between layers: expected num_layers of at least 2 with it, found "
            f"dropout={dropout} and num_layers=1",
            stacklevel=3,
        )


def warn_of_dense_inputs(network: nn.Module) -> None:
    """Warn of large dense input weights that have more numbers than there are links."""
    links = sum(each.nnz for each in network.modules() if isinstance(each, SparseWeight))
    own = network.named_parameters(recurse=False)
    dense = sum(each.numel() for name, each in own if name.startswith("weight_ih"))
    if dense > max(links, 1_000_000):
        warnings.warn(
            f"the dense input weights have {dense:,} numbers, and all links together are "
            f"{links:,}: input_density=... makes the input weights sparse, too",
            stacklevel=4,
        )
