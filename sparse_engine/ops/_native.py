"""The native library. Importing this module registers its operations with PyTorch."""

from __future__ import annotations

import torch

try:
    from sparse_engine import _C
except ModuleNotFoundError as error:
    raise ImportError(
        "the native library of sparse_engine is not built; in the source folder, with torch "
        "installed, run: pip install --no-build-isolation -e ."
    ) from error

native = torch.ops.sparse_engine


def call(operation: torch._ops.OpOverload, *arguments: object) -> torch.Tensor:
    """``operation(*arguments)``, without the cost of autograd where no argument needs it.

    Half the time of a small product would otherwise go to PyTorch's Python autograd kernel, which
    finds out that there is nothing to record.
    """
    if torch.compiler.is_compiling() or (
        torch.is_grad_enabled()
        and any(isinstance(a, torch.Tensor) and a.requires_grad for a in arguments)
    ):
        return operation(*arguments)
    with torch._C._AutoDispatchBelowAutograd():
        return operation(*arguments)


isa = _C.isa
