"""Networks that cannot learn online, and why."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.weak import WeakIdKeyDictionary

from sparse_engine.nn import Recurrent, SparseWeight
from sparse_engine.nn.cell import Layer, multiply
from sparse_engine.online._entries import Entries
from sparse_engine.online._step import Traced, slopes, trace

#: The network for which each parameter is learned online.
_owners: Any = WeakIdKeyDictionary()


def check_network(network: Any) -> Traced:
    """Raise TypeError or ValueError for a network whose influence cannot be carried by units.

    Returns a step of its last layer.
    """
    if not isinstance(network, Recurrent):
        raise TypeError(
            "expected a recurrent network of sparse_engine.nn, found "
            f"{type(network).__name__}; a readout goes by autograd"
        )
    if network.bidirectional:
        raise ValueError(
            "expected a network of one direction, found a bidirectional one, which has to wait for "
            "the end of a sequence"
        )
    check_mode(network)
    kind, units = type(network).__name__, network.hidden_size
    for name, size in {name: network.size_of(name) for name in network.states}.items():
        if size != units:
            raise ValueError(
                f"expected states of hidden_size = {units} features, found {name} of {size}, a "
                "projection, through which units are no longer independent"
            )
    if any(rows != units for rows in network.blocks):
        raise ValueError(
            f"expected gates of {units} rows each, found {network.blocks}: the gates of {kind} are "
            "not elementwise in units"
        )
    if getattr(network.cell, "sigma", 0):
        raise ValueError(f"expected sigma = 0, found noise of sigma = {network.cell.sigma}")
    return [_check_layer(network, network.layer(name)) for name, _ in network.layers()][-1]


def check_mode(network: Recurrent) -> None:
    """Raise ValueError for a network that is on another device than the CPU, or drops units."""
    for name, each in (*network.named_parameters(), *network.named_buffers()):
        if each.device.type != "cpu":
            raise ValueError(
                f"expected a network on the CPU to learn online, found {name} on {each.device}"
            )
    if not network.training:
        return
    options = {name: getattr(network, name, 0) for name in ("dropout", "zoneout")}
    options["recurrent_dropout"] = getattr(network.cell, "recurrent_dropout", 0)
    for name, rate in options.items():
        if rate and (name != "dropout" or network.num_layers > 1):
            raise ValueError(
                f"expected no {name} in training, found {rate}: influence is that of units that "
                "stay; call eval(), or set it to 0"
            )


def _check_layer(network: Recurrent, layer: Layer) -> Traced:
    cell, units, kind = network.cell, network.hidden_size, type(network).__name__
    weights = cell.recurrent_weights(layer)
    for weight in weights:
        if type(weight) is not SparseWeight:
            raise ValueError(
                f"expected {kind} to multiply states by a SparseWeight, found "
                f"{type(weight).__name__}, whose links are not one number each"
            )
    generator = torch.Generator().manual_seed(0)
    like: dict[str, Any] = {"dtype": network.dtype, "generator": generator}
    inputs = layer["weight_ih"].shape[1]
    state = tuple(torch.rand(1, units, **like) - 0.5 for _ in network.states)
    x, dt = torch.rand(1, inputs, **like), torch.ones(1, dtype=network.dtype)
    _check_sums(network, layer, x, state[0])
    traced = trace(cell, layer, x, state, dt if cell.timed else None)
    some = (torch.rand(1, units, **like) < 0.5).to(network.dtype)
    for each in (*traced.sources, *traced.states):
        for leaf, slope in slopes(traced, each, some).items():
            if slope.view(-1, units)[:, some[0] == 0].any():
                raise ValueError(
                    f"expected a step that is elementwise in units, found that units of {kind} "
                    f"depend on the {leaf[0]} of others"
                )
    return traced


def _check_sums(network: Recurrent, layer: Layer, x: Tensor, h: Tensor) -> None:
    """Raise ValueError where sums are not those of the weights and biases alone."""
    cell, weights = network.cell, network.cell.recurrent_weights(layer)
    of_input, of_product = cell.biases(layer)
    product = cell.product(layer)
    sums = [(cell.input_sums(layer, x.unsqueeze(0))[0], layer["weight_ih"], x, of_input)]
    for level, weight in enumerate(weights):
        one = of_product is not None and of_product.dim() == 2
        bias = of_product[level] if one and of_product is not None else of_product
        found = product(h, level) if len(weights) > 1 or one else product(h)
        sums.append((found, weight, h, bias))
    for found, weight, source, bias in sums:
        try:
            assert_close(found, multiply(weight, source, bias))
        except AssertionError:
            raise ValueError(
                f"expected sums W x + b of {type(network).__name__}, found a function of them that "
                "is not elementwise in units, such as layer_norm"
            ) from None


def check_parameters(network: Recurrent, entries: Iterable[Entries]) -> None:
    """Raise ValueError for a parameter that no entry reaches, or that another network has."""
    named = {n: p for n, p in network.named_parameters(remove_duplicate=False) if p.requires_grad}
    names: dict[int, str] = {}
    for name, parameter in named.items():
        if names.setdefault(id(parameter), name) != name:
            raise ValueError(
                f"expected parameters of their own, found {name} shared with {names[id(parameter)]}"
            )
        owner = _owners.get(parameter, lambda: network)()
        if owner is not None and owner is not network:
            raise ValueError(f"expected parameters of one network, found {name} of another, too")
    with torch.enable_grad():
        reached = [each.parameter().sum() for each in entries]
    if not reached:
        raise ValueError("expected parameters that take gradients, found none")
    ones = [torch.ones_like(each) for each in reached]
    found = torch.autograd.grad(reached, [*named.values()], ones, allow_unused=True)
    for name, gradient in zip(named, found, strict=True):
        if gradient is None:
            raise ValueError(
                f"expected parameters that enter the sums of units, found {name}; "
                "requires_grad_(False) leaves it as it is"
            )
    for parameter in named.values():
        _owners[parameter] = weakref.ref(network)
