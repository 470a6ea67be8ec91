"""Replacement of layers of a model by others, which inherit hooks, attributes and additions."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.utils.prune import BasePruningMethod

#: Attributes of a module in which torch has the hooks of its calls.
HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_is_full_backward_hook",
)
#: Attributes with the hooks of its state dict, whose entries are others in another layer.
STATE_HOOKS = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


def obstacle(module: nn.Module) -> str:
    """Return what no other layer could inherit from a module, or an empty text."""
    if "forward" in vars(module):
        return "has a forward of its own"
    hooks = [hook for name in STATE_HOOKS for hook in getattr(module, name).values()]
    if not all(_computes(getattr(hook, "hook", hook)) for hook in hooks):
        return "has hooks of its state dict"
    return ""


def has_hooks(module: nn.Module) -> bool:
    """Whether calls of a module run hooks other than those that compute its parameters."""
    found = [getattr(module, name) for name in HOOKS]
    dicts = [hooks for hooks in found if isinstance(hooks, dict)]
    return any(not _computes(hook) for hooks in dicts for hook in hooks.values())


def inherit(new: nn.Module, old: nn.Module, copied: Callable[[Any], Any]) -> None:
    """Give a layer the hooks, attributes, parameters, buffers and modules that users added.

    Args:
        new: the layer that takes the place, as it was made.
        old: the layer before.
        copied: returns what the new layer gets of each of these.
    """
    for name in HOOKS:
        hooks = getattr(old, name)
        if isinstance(hooks, dict) and any(map(_computes, hooks.values())):
            kept = [(key, hook) for key, hook in hooks.items() if not _computes(hook)]
            hooks = OrderedDict(kept)
        setattr(new, name, copied(hooks))
    own = {"parametrizations", *getattr(old, "options", ())}
    if isinstance(old, nn.RNNBase):
        own |= vars(nn.RNN(1, 1, device="meta")).keys()
    places = (
        (vars(new), vars(old)),
        *(
            (getattr(new, kind), getattr(old, kind))
            for kind in ("_parameters", "_buffers", "_modules")
        ),
    )
    for there, held in places:
        added = [name for name in held if name not in own and not hasattr(new, name)]
        for name in added:
            if not _left_by_torch(name, new, old):
                there[name] = copied(held[name])
    new._non_persistent_buffers_set |= old._non_persistent_buffers_set


def _computes(hook: Any) -> bool:
    """Whether a hook is of torch.nn.utils, and computes a weight of which the new layer has one."""
    module = getattr(hook, "__module__", None) or ""
    return isinstance(hook, BasePruningMethod) or module.startswith("torch.nn.utils.")


def _left_by_torch(name: str, new: nn.Module, old: nn.Module) -> bool:
    """Whether torch.nn.utils computes a weight from an entry, such as ``weight_orig``."""
    weights = {*new._parameters, *new._modules} - {*old._parameters, *old._modules}
    return any(name.startswith(f"{weight}_") for weight in weights)


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
