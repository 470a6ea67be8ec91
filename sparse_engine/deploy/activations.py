"""Norms of what each weight of a dense model multiplies, over calibration batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sparse_engine.deploy._replacement import run_on
from sparse_engine.nn.from_torch import effective


@torch.no_grad()
def input_norms(model: nn.Module, batches: Iterable[Any]) -> dict[str, Tensor]:
    """Return the Euclidean norm of each input feature of each weight, by the weight's name.

    Args:
        model: a model with layers of ``torch.nn``. Its mode is ``eval`` meanwhile.
        batches: inputs of the model; a tuple holds several arguments.

    Raises:
        ValueError: there is no batch.
    """
    squares: dict[str, Tensor] = {}

    def add(name: str, x: Tensor | PackedSequence) -> None:
        rows = x.data if isinstance(x, PackedSequence) else x
        total = rows.reshape(-1, rows.shape[-1]).double().square().sum(0)
        squares[name] = squares[name] + total if name in squares else total

    def watch(prefix: str, module: nn.Module) -> Any:
        def look(_: nn.Module, inputs: tuple) -> None:
            if isinstance(module, nn.Linear):
                add(f"{prefix}weight", inputs[0])
            elif isinstance(module, nn.RNNBase):
                for name, x in recurrent_inputs(module, *inputs):
                    add(prefix + name, x)

        return module.register_forward_pre_hook(look)

    hooks = [
        watch(f"{name}." if name else "", module)
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, nn.Linear | nn.RNNBase)
    ]
    training = {module: module.training for module in model.modules()}
    count = 0
    try:
        model.eval()
        for batch in batches:
            run_on(model, batch)
            count += 1
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training.items():
            module.training = mode
    if not count:
        raise ValueError("expected at least one calibration batch, found none")
    return {name: total.sqrt() for name, total in squares.items()}


def recurrent_inputs(
    network: nn.RNNBase, x: Tensor | PackedSequence, hx: Any = None
) -> Iterable[tuple[str, Tensor | PackedSequence]]:
    """Yield the name of each weight of a recurrent network with what the weight multiplies.

    The layers are run one by one, as the network as a whole shows the states of its last layer
    only. What a projection multiplies is not seen: its inputs count as equal.
    """
    ways = ("", "_reverse") if network.bidirectional else ("",)
    for layer in range(network.num_layers):
        single = _layer_of(network, layer)
        states = None if hx is None else _states_of(hx, layer, len(ways))
        y = single(x, states)[0]
        rows = y.data if isinstance(y, PackedSequence) else y
        for way, h in zip(ways, rows.chunk(len(ways), -1), strict=True):
            yield f"weight_ih_l{layer}{way}", x
            yield f"weight_hh_l{layer}{way}", h
            if network.proj_size:
                yield f"weight_hr_l{layer}{way}", h.new_ones(1, network.hidden_size)
        x = y


def _states_of(hx: Any, layer: int, ways: int) -> Any:
    """Return the initial states of one layer, from those of all."""
    if isinstance(hx, Tensor):
        return hx.unflatten(0, (-1, ways))[layer]
    return tuple(_states_of(each, layer, ways) for each in hx)


def _layer_of(network: nn.RNNBase, layer: int) -> nn.RNNBase:
    """Return one layer of a network as a network of its own, which shares the weights."""
    options: dict[str, Any] = {
        name: getattr(network, name)
        for name in ("hidden_size", "bias", "batch_first", "bidirectional")
    }
    if network.proj_size:
        options["proj_size"] = network.proj_size
    if isinstance(network, nn.RNN):
        options["nonlinearity"] = network.nonlinearity
    inputs = effective(network, f"weight_ih_l{layer}")[0].shape[1]
    kind: Any = next(each for each in (nn.RNN, nn.LSTM, nn.GRU) if isinstance(network, each))
    single = kind(inputs, device="meta", **options)
    for name in [name for name, _ in single.named_parameters()]:
        own = effective(network, name.replace("_l0", f"_l{layer}"))[0]
        setattr(single, name, nn.Parameter(own, requires_grad=False))
    single.flatten_parameters()
    return single
