"""Replacement of layers of a model by others, which inherit hooks, attributes and additions."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.utils.prune import BasePruningMethod

_HOOKS = [name for name in vars(nn.Module()) if "hook" in name]
#: Hooks of state dicts, whose entries are others in another layer.
STATE_HOOKS = [name for name in _HOOKS if "state_dict" in name]
#: Attributes of a module in which torch has the hooks of its calls.
HOOKS = [name for name in _HOOKS if name not in STATE_HOOKS]


def obstacle(module: nn.Module) -> str:
    """Return what no other layer could inherit from a module, or an empty text."""
    if "forward" in vars(module):
        return "has a forward of its own"
    hooks = [hook for name in STATE_HOOKS for hook in getattr(module, name).values()]
    if not all(_computes(getattr(hook, "hook", hook)) for hook in hooks):
        return "has hooks of its state dict"
    return ""


def has_hooks(module: nn.Module) -> bool:
    found = [getattr(module, name) for name in HOOKS]
    dicts = [hooks for hooks in found if isinstance(hooks, dict)]
    return any(not _computes(hook) for hooks in dicts for hook in hooks.values())


def full_name(module: str, weight: str) -> str:
    return f"{module}.{weight}" if module else weight


def layers_of(model: nn.Module, chosen: Callable[[nn.Module], bool]) -> list[tuple[str, Any]]:
    named = model.named_modules(remove_duplicate=False)
    return [(name, module) for name, module in named if chosen(module)]


def with_replaced(
    model: nn.Module,
    chosen: Callable[[nn.Module], bool],
    change: Callable[[str, Any], nn.Module],
    *,
    inplace: bool,
) -> nn.Module:
    """Return the model with other layers, which inherit hooks and additions of users.

    ``change`` returns what stands in for a ``chosen`` layer, given its name and the layer. A copy
    of the model is made without copies of the layers that are replaced.
    """
    layers = layers_of(model, chosen)
    made: dict[int, nn.Module] = {}
    for name, module in layers:
        if id(module) not in made:
            made[id(module)] = change(name, module)
    changed = {id(old): old for _, old in layers if made[id(old)] is not old}
    memo: dict[int, Any] = {key: made[key] for key in changed}
    for key, old in changed.items():
        _inherit(made[key], old, lambda each: each if inplace else copy.deepcopy(each, memo))
    if not inplace:
        return _without_fast_path(copy.deepcopy(model, memo))
    for name, module in layers:
        parent, _, own = name.rpartition(".")
        if own:
            setattr(model.get_submodule(parent), own, made[id(module)])
        else:
            model = made[id(module)]
    return _without_fast_path(model)


def _inherit(new: nn.Module, old: nn.Module, copied: Callable[[Any], Any]) -> None:
    """Give a layer the hooks, attributes, parameters, buffers and modules that users added."""
    for name in HOOKS:
        hooks = getattr(old, name)
        if isinstance(hooks, dict) and any(map(_computes, hooks.values())):
            hooks = OrderedDict((key, hook) for key, hook in hooks.items() if not _computes(hook))
        setattr(new, name, copied(hooks))
    own = {"parametrizations", *getattr(old, "options", ())}
    if isinstance(old, nn.RNNBase):
        own |= vars(nn.RNN(1, 1, device="meta")).keys()
    # Entries such as ``weight_orig``, of which torch.nn.utils computes a weight.
    weights = {*new._parameters, *new._modules} - {*old._parameters, *old._modules}
    sources = tuple(f"{weight}_" for weight in weights)
    for kind in ("__dict__", "_parameters", "_buffers", "_modules"):
        there, held = getattr(new, kind), getattr(old, kind)
        for name in [name for name in held if name not in own and not hasattr(new, name)]:
            if not name.startswith(sources):
                there[name] = copied(held[name])
    new._non_persistent_buffers_set |= old._non_persistent_buffers_set


def _computes(hook: Any) -> bool:
    """Whether a hook is of torch.nn.utils, and computes a weight of which the new layer has one."""
    module = getattr(hook, "__module__", None) or ""
    return isinstance(hook, BasePruningMethod) or module.startswith("torch.nn.utils.")


def _without_fast_path(model: nn.Module) -> nn.Module:
    """Keep torch's encoders from the kernel and the nested tensors of eval, for dense weights."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            if not all(type(each) is nn.Linear for each in (module.linear1, module.linear2)):
                module.activation_relu_or_gelu = 0
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
    return model
