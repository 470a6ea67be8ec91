"""Values of a dense module, and masks of those that a sparse module takes over."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparse_engine.nn._initial_links import density_nnz


def effective(module: nn.Module, name: str) -> tuple[Tensor, Tensor | None]:
    """Return the values with which a module computes, and the mask that pruned them, or None.

    The parameter ``name`` may be parametrized, or pruned by ``torch.nn.utils.prune``.
    """
    mask = getattr(module, f"{name}_mask", None)
    if mask is None:
        return getattr(module, name).detach(), None
    return (getattr(module, f"{name}_orig") * mask).detach(), mask.bool()


def magnitude_mask(dense: Tensor, density: float) -> Tensor:
    """Return a mask of the fraction ``density`` of the entries that is largest by magnitude."""
    count = density_nnz(dense.shape[0], dense.shape[1], density)
    mask = torch.zeros(dense.numel(), dtype=torch.bool, device=dense.device)
    mask[dense.abs().flatten().topk(count).indices] = True
    return mask.view_as(dense)
