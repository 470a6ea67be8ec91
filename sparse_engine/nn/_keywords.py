"""Keyword arguments that recurrent networks have in common, for type checkers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor


class LinkOptions(TypedDict, total=False):
    """Keyword arguments that torch.nn does not have, see :class:`SparseRecurrent`."""

    input_density: float
    gain: float
    generator: torch.Generator | None
    checkpoint_every: int | None


class StackOptions(TypedDict, total=False):
    """Keyword arguments of the stack of layers, see :class:`Recurrent`."""

    batch_first: bool
    dropout: float
    bidirectional: bool


class RecurrentOptions(LinkOptions, StackOptions, total=False):
    """Keyword arguments of :class:`SparseRecurrent` beside sizes, layers and density."""

    bias: bool
    device: torch.device | str | None
    dtype: torch.dtype | None


class LeakyOptions(RecurrentOptions, total=False):
    """Keyword arguments of networks whose units decay with time constants, see :class:`Leaky`."""

    tau: float | Tensor
    trainable_tau: bool
    groups: Sequence[int] | Tensor | None
    dt: float
