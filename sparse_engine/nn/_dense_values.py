"""Values of a dense module, and masks of those that a sparse module takes over."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sparse_engine.nn._initial_links import density_nnz


def effective(module: nn.Module, name: str) -> tuple[Tensor, Tensor | None]:
    """Return the values with which a module computes, and the mask that pruned them, or None.

    The parameter ``name`` may be parametrized, or pruned by ``torch.nn.utils.prune``.
    """
    mask = getattr(module, f"{name}_mask", None)
    if mask is None:
        return getattr(module, name).detach(), None
    return (getattr(module, f"{name}_orig") * mask).detach(), mask.bool()


def takes_gradients(module: nn.Module, name: str) -> bool:
    """Whether a module trains the parameter ``name``, or what it is computed from."""
    if is_parametrized(module, name):
        parameters = module.get_submodule(f"parametrizations.{name}").parameters()
        return any(each.requires_grad for each in parameters)
    # Those of torch.nn.utils.prune, spectral_norm and weight_norm, beside the parameter itself.
    sources = (module._parameters.get(name + end) for end in ("", "_orig", "_g", "_v"))
    return any(each is not None and each.requires_grad for each in sources)


def magnitude_mask(dense: Tensor, density: float) -> Tensor:
    """Return a mask of the fraction ``density`` of the entries that is largest by magnitude."""
    count = density_nnz(dense.shape[0], dense.shape[1], density)
    mask = torch.zeros(dense.numel(), dtype=torch.bool, device=dense.device)
    mask[dense.abs().flatten().topk(count).indices] = True
    return mask.view_as(dense)
