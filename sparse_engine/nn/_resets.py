"""Beginnings of episodes in sequences: the argument ``resets`` of recurrent networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sparse_engine.errors import InputError


def checked_resets(resets: Tensor, x: Tensor) -> Tensor:
    """Return the mask of where episodes begin as bools.

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


def set_back(hx: Any, resets: Tensor, x: Tensor) -> Any:
    """Return the state before one step, with zeros for the sequences whose episodes begin there.

    Args:
        hx: a state or a tuple of states, ``[layers, batch, features]`` or ``[layers, features]``.
            Anything else is returned as it is, for the network to refuse.
        resets: bool or floating, of the shape of ``x`` without features.
        x: the input of the step, ``[batch, inputs]`` or ``[inputs]``.

    Raises:
        InputError, TypeError: as :func:`checked_resets`.
    """
    begins = checked_resets(resets, x).unsqueeze(-1)

    def one(state: Any) -> Any:
        fits = isinstance(state, Tensor) and state.shape[1:-1] == begins.shape[:-1]
        return state.masked_fill(begins, 0) if fits else state

    return tuple(one(each) for each in hx) if isinstance(hx, tuple | list) else one(hx)


def run_by_steps(
    run_layer: Callable[..., tuple[Tensor, ...]],
    layer: str,
    x: Tensor,
    state: tuple[Tensor | None, ...],
    resets: Tensor,
    step_inputs: Mapping[str, Tensor],
    constants: Mapping[str, Tensor],
) -> tuple[Tensor, ...]:
    """Run one layer step by step, setting the state back between steps.

    Args:
        run_layer: :meth:`Cell.run_layer` of a network, which is not given the resets.
        layer: suffix of the layer's parameters.
        x: ``[steps, batch, inputs]``.
        state: the initial states, each None for zeros.
        resets: bool ``[steps, batch]``.
        step_inputs: what each step reads beside ``x``, ``[steps, batch]`` each, by name.
        constants: what all steps share, by name.

    Returns:
        What :meth:`Cell.run_layer` returns.
    """
    outputs: list[Tensor] = []
    ends: list[Tensor] = []
    for t, begins in enumerate(resets.unsqueeze(-1)):
        state = tuple(None if each is None else each.masked_fill(begins, 0) for each in state)
        given = {name: each[t : t + 1] for name, each in step_inputs.items()}
        output, *ends = run_layer(layer, x[t : t + 1], state, **given, **constants)
        state = tuple(ends)
        outputs.append(output)
    return torch.cat(outputs), *ends


def read_backwards(step_inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what each step reads, in the order of the direction that reads sequences backwards.

    Backwards, an episode begins where forwards it ends: one step before the next one begins.
    """
    turned = {name: each.flip(0) for name, each in step_inputs.items()}
    if "resets" in turned:
        begins = step_inputs["resets"]
        turned["resets"] = torch.cat([torch.zeros_like(begins[:1]), begins[1:].flip(0)])
    return turned
