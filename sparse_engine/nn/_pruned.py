"""What a dense module computes with, also where torch.nn.utils.prune has masked it."""

from __future__ import annotations

from torch import Tensor, nn


def effective(module: nn.Module, name: str) -> tuple[Tensor, Tensor | None]:
    """The parameter ``name`` as the module uses it, and the mask of its pruning, if it is pruned.

    A parametrization of the parameter is applied.
    """
    mask = getattr(module, f"{name}_mask", None)
    if mask is None:
        return getattr(module, name).detach(), None
    return (getattr(module, f"{name}_orig") * mask).detach(), mask.bool()
