"""The keyword arguments that all recurrent networks have in common, for type checkers."""

from __future__ import annotations

from typing import TypedDict

import torch


class LinkOptions(TypedDict, total=False):
    """Where links and values come from, and what training keeps; see :class:`SparseRecurrent`."""

    input_density: float
    gain: float
    generator: torch.Generator | None
    checkpoint_every: int | None


class RecurrentOptions(LinkOptions, total=False):
    """What :class:`SparseRecurrent` takes beside sizes, layers and density."""

    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    device: torch.device | str | None
    dtype: torch.dtype | None
