"""The quick way of ``Recurrent.step``: one native operation for all layers, without gradients.

A step of a stream takes about as long as a few calls of PyTorch, so it notices every one. Nothing
is remembered between steps: the parameters are looked up where PyTorch keeps them, so a step sees
those that ``load_state_dict``, ``to``, ``functional_call`` or a rewiring has put there.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from sparse_engine.nn.weight import runs_alone
from sparse_engine.ops._dispatch.native import as_refusal, in_eager_mode, needs_gradient
from sparse_engine.ops._dispatch.private import (
    has_global_hooks,
    is_hooked,
    modes_of_dispatch,
    modes_of_functions,
)

_Step = tuple[Tensor, Tensor | tuple[Tensor, ...]]


def quick_step(network: Any, x: Tensor, hx: Any) -> _Step | None:
    """Return what ``network.step(x, hx)`` does, or None where it has to go the ordinary way.

    It has to where anything else takes part: gradients, hooks, parametrizations, compilers,
    transforms, modes, autocast, dropout. It also has to where the operation refuses an argument or
    a parameter, so that the ordinary way says what is wrong.
    """
    run = type(network).__dict__.get("step_kernel")  # a subclass may override any method
    if run is None or not in_eager_mode() or type(x) is not Tensor or not x.is_cpu:
        return None
    states = _states(network, hx) if _runs_alone(network) else None
    if states is None:
        return None
    try:
        results = run(network, x, states)
    except (ValueError, RuntimeError) as error:
        if isinstance(as_refusal(error), ValueError):
            return None
        raise
    if results is None:
        return None
    y, *after = results
    return y, after[0] if len(after) == 1 else tuple(after)


def step_of_cell(network: Any, x: Tensor, states: list[Tensor]) -> list[Tensor] | None:
    """Return the output and the states after the native step of a cell, or None without one."""
    options, parameters = network.cell.step_options(), parameters_of(network, x)
    if options is None or parameters is None or network.cell.zoneout:
        return None
    if torch.is_grad_enabled() and needs_gradient((x, *states, *parameters)):
        return None
    sizes = network.num_layers, network.hidden_size, network.bias
    return network.cell.step_kernel(x, states, parameters, *sizes, *options)


def _runs_alone(network: Any) -> bool:
    return not (
        network.bidirectional
        or (network.training and network.dropout)
        or "forward" in network.__dict__
        or is_hooked(network)
        or has_global_hooks()
        or modes_of_dispatch()
        or modes_of_functions()
        or torch.is_autocast_enabled("cpu")
    )


def _states(network: Any, hx: Any) -> list[Tensor] | None:
    if hx is None:
        return []
    states = [hx] if len(network.states) == 1 else hx
    if not isinstance(states, tuple | list) or len(states) != len(network.states):
        return None
    return [*states] if all(isinstance(each, Tensor) for each in states) else None


@cache
def _names(layer: int) -> tuple[str, ...]:
    return tuple(f"{kind}_l{layer}" for kind in ("weight_hh", "weight_ih", "bias_ih", "bias_hh"))


def parameters_of(network: Any, x: Tensor) -> list[Tensor] | None:
    """Return the parameters of all layers as the operation takes them, or None if any differs."""
    own, modules = network._parameters, network._modules
    found: list[Tensor] = []
    for layer in range(network.num_layers):
        recurrent, given, *biases = _names(layer)
        links, dense = _links(modules.get(recurrent)), own.get(given)
        inputs = _links(modules.get(given)) if dense is None else (dense,)
        if links is None or inputs is None or (dense is not None and _goes_before(network, x)):
            return None
        found += links
        found += inputs
        if network.bias:
            found += [own[name] for name in biases if own.get(name) is not None]
    return found


def _goes_before(network: Any, x: Tensor) -> bool:
    """Tell whether PyTorch multiplies several inputs by the dense weight faster than a kernel."""
    return x.dim() > 1 and x.shape[0] > 1 and x.shape[-1] > network.cell.most_fused_inputs


def _links(weight: Any) -> tuple[Tensor, Tensor, Tensor] | None:
    if not runs_alone(weight):
        return None
    values, buffers = weight._parameters.get("values"), weight._buffers
    crow, col = buffers["crow_indices"], buffers["col_indices"]
    return None if values is None or crow is None or col is None else (values, crow, col)
