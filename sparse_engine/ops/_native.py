"""The native library, and how its operations become differentiable.

Importing this module registers the operations with PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

try:
    from sparse_engine import _C
except ModuleNotFoundError as error:
    raise ImportError(
        "the native library of sparse_engine is not built; in the source folder, with torch "
        "installed, run: pip install --no-build-isolation -e ."
    ) from error

native = torch.ops.sparse_engine
isa = _C.isa
built_isas = _C.built_isas
built_with_cuda = _C.built_with_cuda


def call(operation: torch._ops.OpOverload, *inputs: object) -> torch.Tensor:
    """``operation(*inputs)``, without the cost of autograd where no input needs it."""
    if torch.compiler.is_compiling() or needs_gradient(inputs):
        return operation(*inputs)
    with torch._C._AutoDispatchBelowAutograd():
        return operation(*inputs)


def in_eager_mode() -> bool:
    """Whether neither ``torch.compile`` nor a transform of ``torch.func`` is looking on."""
    return not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())


def differentiable(
    operation: torch._ops.OpOverload, *, save: Callable, backward: Callable
) -> Callable[..., torch.Tensor]:
    """``operation``, with a gradient formula that all of PyTorch knows, at little cost per call.

    The formula is registered with the operation, so that ``torch.compile`` and ``torch.func`` find
    it there. An ordinary eager call does not go that way, whose Python takes longer than many a
    kernel: it records a plain :class:`torch.autograd.Function`, or nothing where no argument
    requires a gradient.

    Args:
        operation: a native operation.
        save: ``save(ctx, inputs, output)``, keeps what ``backward`` needs.
        backward: ``backward(ctx, gradient)``, one gradient or None for each input.
    """
    torch.library.register_autograd(operation.name(), backward, setup_context=save)

    def forward(ctx: object, *inputs: object) -> torch.Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            output = operation(*inputs)
        save(ctx, inputs, output)
        return output

    name = operation.name().split("::")[1]
    function = type(
        name,
        (torch.autograd.Function,),
        {"forward": staticmethod(forward), "backward": staticmethod(backward)},
    )

    def run(*inputs: object) -> torch.Tensor:
        if not in_eager_mode():
            return operation(*inputs)
        return function.apply(*inputs) if needs_gradient(inputs) else call(operation, *inputs)

    return run


def refuse_second_derivative(backward: torch._ops.OpOverload, twin: str) -> None:
    """Makes the gradient of a backward operation an error that names the twin in plain torch."""

    def refuse(ctx: object, *gradients: object) -> None:
        raise RuntimeError(
            "the sparse recurrence can be differentiated once; for a second derivative use "
            f"sparse_engine.ops.{twin}, which is plain torch"
        )

    torch.library.register_autograd(backward.name(), refuse)


def needs_gradient(inputs: tuple) -> bool:
    """Whether autograd has something to record."""
    return torch.is_grad_enabled() and any(
        isinstance(each, torch.Tensor) and each.requires_grad for each in inputs
    )
