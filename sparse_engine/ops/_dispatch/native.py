"""The native library, and how its operations become differentiable.

Importing this module registers the operations with PyTorch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparse_engine.errors import InputError
from sparse_engine.ops._dispatch.private import (
    OpOverload,
    SingleLevelFunction,
    at_single_level,
    below_autograd,
    forward_mode,
    has_tangents,
    inside_transform,
    is_tracing,
)
from sparse_engine.ops._dispatch.vmap import any_is_mapped, by_columns, in_legacy_vmap, one_by_one

try:
    from sparse_engine import _C
except ModuleNotFoundError as error:
    raise ImportError(
        "the native library of sparse_engine is not built; in the source folder, with torch "
        "installed, run: pip install --no-build-isolation -e ."
    ) from error

# A forked process has none of the OpenMP threads that its parallel regions would wait for.
os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))

native = torch.ops.sparse_engine
library: Any = _C
isa = library.isa
built_isas = library.built_isas
built_with_cuda = library.built_with_cuda

_library = torch.library.Library("sparse_engine", "IMPL")
_differentiable: dict[OpOverload, Callable[..., Tensor]] = {}


def register_on_cuda(name: str, function: Callable) -> None:
    """Let an operation that has no native kernel for GPUs run ``function`` on CUDA tensors."""
    _library.impl(name, function, "CUDA")


def call(operation: OpOverload, *inputs: object) -> Tensor:
    """Run an operation that :func:`differentiable` knows, as derivatives do."""
    return _differentiable[operation](*inputs)


def checked(operation: Callable, *inputs: object) -> Any:
    """Run an operation that has no derivative; what it refuses is a ValueError."""
    try:
        return operation(*inputs)
    except RuntimeError as error:
        raise as_refusal(error) from None


def as_refusal(error: Exception) -> Exception:
    """Return a native operation's refusal as a ValueError, any other error as it is.

    Until version 2.14, torch makes ValueErrors of them; from 2.15 on, RuntimeErrors.
    """
    refused = type(error) in (RuntimeError, ValueError) and str(error).startswith("expected ")
    return InputError(str(error)) if refused else error


def threads() -> int:
    """Return the number of threads of an operation: torch's, within the process's quota."""
    return min(torch.get_num_threads(), library.most_threads())


def refuse_onnx() -> None:
    """Raise RuntimeError where ``torch.onnx`` exports, whose operators know no sparse weights."""
    if torch.onnx.is_in_onnx_export():
        raise RuntimeError(
            "ONNX has no operators for sparse weights: export what to_dense() of each sparse layer "
            "or network returns, which computes the same with dense weights"
        )


def in_eager_mode() -> bool:
    """Tell whether neither a compiler, a transform nor forward-mode autograd looks on."""
    return not (_recorded_elsewhere() or has_tangents())


def differentiable(
    operation: OpOverload,
    *,
    save: Callable,
    backward: Callable,
    jvp: Callable | None = None,
    columns: int | None = None,
) -> Callable[..., Tensor]:
    """Give an operation derivatives that all of PyTorch knows, at little cost per call.

    They are the operation's own kernel for autograd, where ``torch.compile``, ``torch.func``,
    ``torch.jit`` and ``torch.autograd.forward_ad`` find them. An ordinary eager call does not go
    that way, which takes longer than many a kernel: it records a plain
    :class:`torch.autograd.Function`, or nothing where no argument requires a gradient.

    ``save(ctx, inputs, output)`` keeps what ``backward(ctx, gradient)`` and
    ``jvp(ctx, *tangents)`` need. Without a ``jvp``, forward-mode derivatives are refused.
    ``columns`` is the position of a matrix that the operation maps column by column; without it,
    ``torch.vmap`` runs the operation once for each sample.
    """
    name = operation.name().split("::")[1]
    defaults = defaults_of(operation._schema)

    def forward(ctx: Any, *inputs: object) -> Tensor:
        with below_autograd():
            output = operation(*inputs)
        save(ctx, inputs, output)
        return output

    def forward_at_level(ctx: Any, *inputs: object) -> Tensor:
        # The levels of nested transforms below this one have derivatives to record, too.
        with torch.enable_grad(), forward_mode(True):
            return forward(ctx, *inputs)

    derivatives = {
        "backward": staticmethod(backward),
        "jvp": staticmethod(_no_forward_mode(name) if jvp is None else jvp),
    }
    function: Any = type(
        name, (torch.autograd.Function,), derivatives | {"forward": staticmethod(forward)}
    )
    at_level: Any = type(
        name, (SingleLevelFunction,), derivatives | {"forward": staticmethod(forward_at_level)}
    )

    def record(*inputs: object) -> Tensor:
        inputs += defaults[len(inputs) :]
        if not (needs_gradient(inputs) or inside_transform() or has_tangents()):
            with below_autograd():
                return operation(*inputs)
        with at_single_level():
            return at_level.apply(*inputs)

    def vmap(info: Any, in_dims: tuple, *inputs: object) -> tuple:
        mapped = [at for at, dims in enumerate(in_dims) if any_is_mapped(dims)]
        if columns is not None and mapped == [columns]:
            return by_columns(operation, columns, in_dims[columns], inputs)
        return one_by_one(operation, info.batch_size, in_dims, inputs)

    _library.impl(name, record, "Autograd")
    _library.impl(name, in_legacy_vmap(operation), "Batched")
    torch.library.register_vmap(operation.name(), vmap)

    def run(*inputs: object) -> Tensor:
        if _recorded_elsewhere():
            refuse_onnx()
            return operation(*inputs)
        try:
            if needs_gradient(inputs) or has_tangents():
                return function.apply(*inputs)
            with below_autograd():
                return operation(*inputs)
        except RuntimeError as error:
            raise as_refusal(error) from None

    _differentiable[operation] = run
    return run


def defaults_of(schema: torch.FunctionSchema) -> tuple:
    """Return the default value of each argument, which torch leaves out at the end of a call."""
    return tuple(argument.default_value for argument in schema.arguments)


def keep(ctx: Any, *inputs: Tensor | None) -> None:
    """Save tensors for a backward pass and, where that may come, for a ``jvp``."""
    ctx.save_for_backward(*inputs)
    if inside_transform() or has_tangents():
        ctx.save_for_forward(*inputs)


def refuse_second_derivative(backward: OpOverload) -> Callable[..., Tensor]:
    """Return a backward operation whose derivative is an error that names the reference."""
    name = backward.name().split("::")[1].removesuffix("_backward")

    def refuse(ctx: Any, *gradients: object) -> None:
        raise RuntimeError(
            "the sparse recurrence can be differentiated once; for a second derivative use "
            f"sparse_engine.ops.{name}.reference, which is plain torch"
        )

    return differentiable(backward, save=lambda *_: None, backward=refuse, jvp=refuse)


def saves_for_backward() -> bool:
    """Tell whether a forward pass saves what a backward pass needs; a trace may be for either."""
    return torch.is_grad_enabled() or (not torch.compiler.is_compiling() and is_tracing())


def needs_gradient(inputs: tuple) -> bool:
    """Tell whether autograd has something to record."""
    return torch.is_grad_enabled() and any(
        isinstance(each, Tensor) and each.requires_grad for each in inputs
    )


def _recorded_elsewhere() -> bool:
    """Tell whether a compiler, a transform or a trace has to see the operation itself."""
    return torch.compiler.is_compiling() or inside_transform() or is_tracing()


def _no_forward_mode(name: str) -> Callable:
    name = name.removesuffix("_forward")

    def refuse(ctx: Any, *tangents: object) -> None:
        raise RuntimeError(
            f"sparse_engine.ops.{name} has no forward-mode derivative; use reverse mode "
            f"(torch.func.grad, vjp or jacrev), or sparse_engine.ops.{name}.reference, which is "
            "plain torch"
        )

    return refuse
