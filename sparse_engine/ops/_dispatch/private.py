"""Every private name of PyTorch that the package uses, with the reason; checked with torch 2.13.

``tests/test_installation.py`` looks for private names elsewhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction
from torch.nn.modules import module as _module
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

__all__ = ["TorchDispatchMode", "tree_flatten", "tree_leaves", "tree_unflatten"]

# Types of schemas, for annotations.
OpOverload = torch._ops.OpOverload
OpOverloadPacket = torch._ops.OpOverloadPacket
Argument = torch._C.Argument

# Runs an operation without its autograd kernel: a call of a plain torch.autograd.Function has
# recorded it by then. torch.library's own functions do the same, at ten times the cost of a call.
below_autograd = torch._C._AutoDispatchBelowAutograd

# Transforms of torch.func record one level of autograd at a time. Their own autograd.Function is
# such a class too; the public one refuses operations that are called inside transforms.
SingleLevelFunction = _SingleLevelFunction
at_single_level = enable_single_level_autograd_function
forward_mode = forward_ad._set_fwd_grad_enabled

# What looks on, and has to see the operation itself: asked at every call, so a public function that
# asks for several things at once is too slow.
inside_transform = torch._C._are_functorch_transforms_active
is_tracing = torch._C._is_tracing
modes_of_dispatch = torch._C._len_torch_dispatch_stack
modes_of_functions = torch._C._len_torch_function_stack

# torch.autograd.grad(is_grads_batched=True) goes through an older vmap that has no public names.
begin_legacy_vmap = torch._C._vmapmode_increment_nesting
end_legacy_vmap = torch._C._vmapmode_decrement_nesting
is_legacy_batched = torch._C._functorch.is_legacy_batchedtensor
add_batch = torch._add_batch_dim
remove_batch = torch._remove_batch_dim

# Numbers are drawn on real tensors also where a mode, such as that of fake tensors, is on.
without_modes = _disable_current_modes

# The number of a backward pass, by which what a pass leaves behind is told from the next one's.
backward_pass = torch._C._current_graph_task_id

# In a compiled graph, conditions on sizes and on data that is not known yet.
check_size = torch._check
assert_later = torch._assert_async


def has_tangents() -> bool:
    """Whether forward-mode autograd is on, so that tensors may have tangents."""
    return forward_ad._current_level >= 0


def has_global_hooks() -> bool:
    """Whether hooks of all modules are registered, which a call of any module has to run."""
    return bool(
        _module._global_forward_hooks
        or _module._global_forward_pre_hooks
        or _module._global_backward_hooks
        or _module._global_backward_pre_hooks
    )


def is_hooked(module: nn.Module) -> bool:
    """Whether a call of this module would call hooks of its own."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def compiled_package(program: torch.export.ExportedProgram, path: str) -> Callable[..., Any]:
    """Compile a program ahead of time: torch documents both functions, in a private module."""
    return torch._inductor.aoti_load_package(
        torch._inductor.aoti_compile_and_package(program, package_path=path)
    )


def with_own_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a copy of a function with a code object of its own.

    torch.compile counts recompilations by code object, and gives up after eight. Classes that
    inherit one ``forward`` share it, so a program with many kinds of networks would reach that.
    """
    old = cast(FunctionType, function)
    own: Any = FunctionType(old.__code__.replace(), old.__globals__, old.__name__, old.__defaults__)
    own.__kwdefaults__ = old.__kwdefaults__
    update_wrapper(own, old)
    del own.__wrapped__
    return own


def resize_sharded(
    model: nn.Module, module: nn.Module, name: str, sharded: nn.Parameter, whole: Tensor
) -> None:
    """Let ``sharded``, which fully_shard distributes, hold the entries of another length.

    torch has no public function for it. ``module.name`` is that parameter; the object stays.
    """
    from torch.distributed.fsdp import FSDPModule

    for each in model.modules():
        state = each._get_fsdp_state() if isinstance(each, FSDPModule) else None
        # torch 2.10 has one group for each module, and later ones have a list.
        groups = getattr(state, "_fsdp_param_groups", [getattr(state, "_fsdp_param_group", None)])
        for held in [held for group in groups if group is not None for held in group.fsdp_params]:
            if held.sharded_param is sharded:
                _hold_anew(held, sharded, nn.Parameter(whole, sharded.requires_grad))
                return
    raise ValueError(f"expected {name} of {module} sharded by fully_shard, found it otherwise")


def _hold_anew(held: Any, sharded: nn.Parameter, whole: nn.Parameter) -> None:
    mesh = {"mesh_info": held.mesh_info}  # an argument since torch 2.12
    taken = inspect.signature(held._init_sharded_param).parameters
    given = {each: mesh[each] for each in mesh.keys() & taken.keys()}
    held._init_sharded_param(whole, held.device, None, **given)
    if held.post_forward_mesh_info:
        held._init_sharded_post_forward_param_metadata(whole)
    held.all_gather_outputs = []
    held.__dict__.pop("_unsharded_param", None)
    torch.utils.swap_tensors(sharded, held.sharded_param)
    held.sharded_param = sharded
    held._setattr_on_modules(sharded)
