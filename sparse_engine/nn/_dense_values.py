"""What to take from a dense module: the values it computes with, and the largest of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparse_engine.nn import _init


def effective(module: nn.Module, name: str) -> tuple[Tensor, Tensor | None]:
    """The parameter ``name`` as the module uses it, and the mask of its pruning, if it is pruned.

    A parametrization of the parameter is applied.
    """
    mask = getattr(module, f"{name}_mask", None)
    if mask is None:
        return getattr(module, name).detach(), None
    return (getattr(module, f"{name}_orig") * mask).detach(), mask.bool()


def largest(dense: Tensor, density: float) -> Tensor:
    """A mask of the share ``density`` of the entries that is largest by magnitude."""
    count = _init.density_nnz(*dense.shape, density)
    mask = torch.zeros(dense.numel(), dtype=torch.bool, device=dense.device)
    mask[dense.abs().flatten().topk(count).indices] = True
    return mask.view_as(dense)
