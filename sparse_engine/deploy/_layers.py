"""Layers of a model that others take the places of, and batches that a model is run on."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from sparse_engine.deploy._inheritance import inherit

#: Names of layers with the layers; a layer under two names is there twice.
Named = list[tuple[str, nn.Module]]


def full_name(module: str, weight: str) -> str:
    """Return the name of a weight in the model."""
    return f"{module}.{weight}" if module else weight


def with_replaced(
    model: nn.Module, layers: Named, made: dict[int, nn.Module], *, inplace: bool
) -> nn.Module:
    """Return the model with other layers, which inherit hooks and what users added.

    Args:
        model: the model.
        layers: the layers that may be replaced.
        made: what stands in for each layer, by its id.
        inplace: whether the model itself is changed; otherwise a copy, for which what is replaced
            is not copied first.
    """
    changed = {id(old): old for _, old in layers if made[id(old)] is not old}
    memo: dict[int, Any] = {key: made[key] for key in changed}
    for key, old in changed.items():
        inherit(made[key], old, lambda each: each if inplace else copy.deepcopy(each, memo))
    if not inplace:
        return _without_fast_path(copy.deepcopy(model, memo))
    for name, module in layers:
        parent, _, own = name.rpartition(".")
        if own:
            setattr(model.get_submodule(parent), own, made[id(module)])
        else:
            model = made[id(module)]
    return _without_fast_path(model)


def _without_fast_path(model: nn.Module) -> nn.Module:
    """Keep torch's encoders from the kernel and the nested tensors of eval, for dense weights."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            if not all(type(each) is nn.Linear for each in (module.linear1, module.linear2)):
                module.activation_relu_or_gelu = 0
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
    return model


def run_on(model: nn.Module, batch: Any) -> Any:
    """Return ``model(*batch)`` for a tuple, and ``model(batch)`` otherwise."""
    return model(*batch) if isinstance(batch, tuple) else model(batch)
