"""Where episodes begin in sequences: the argument ``resets`` of recurrent networks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparse_engine.errors import InputError


def checked_resets(resets: Tensor, x: Tensor) -> Tensor:
    """Return where episodes begin as bools.

    Args:
        resets: bool or floating, of the shape of ``x`` without features.
        x: the input.

    Raises:
        InputError: a shape, dtype or device does not fit.
        TypeError: no tensor.
    """
    if not isinstance(resets, Tensor):
        raise TypeError(f"expected resets to be a tensor, found {type(resets).__name__}")
    if resets.shape != x.shape[:-1]:
        raise InputError(f"expected resets of shape {[*x.shape[:-1]]}, found {[*resets.shape]}")
    if resets.dtype != torch.bool and not resets.is_floating_point():
        found = f"{resets.dtype}".replace("torch.", "")
        raise InputError(f"expected resets of dtype bool or a floating dtype, found {found}")
    if resets.device != x.device:
        raise InputError(f"expected resets on {x.device}, found them on {resets.device}")
    return resets != 0


def resets_of_step(resets: Tensor | None, x: Tensor, time: int) -> dict[str, Tensor]:
    """Return the resets of one step ``x`` by name, for a sequence of one step; empty for None."""
    return {} if resets is None else {"resets": checked_resets(resets, x).unsqueeze(time)}


def read_backwards(step_inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what each step reads, in the order of the direction that reads sequences backwards.

    Backwards, an episode begins where forwards it ends: one step before the next one begins.
    """
    turned = {name: each.flip(0) for name, each in step_inputs.items()}
    if "resets" in turned:
        begins = step_inputs["resets"]
        turned["resets"] = torch.cat([torch.zeros_like(begins[:1]), begins[1:].flip(0)])
    return turned
