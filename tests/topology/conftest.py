"""Sparse weights and what their links carry."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sparse_engine.nn import SparseWeight


@pytest.fixture(scope="session")
def links_of():
    """Maps each position that holds a link to its entry of a tensor, by default to its value."""

    def read(weight: SparseWeight, entries: Tensor | None = None) -> dict[int, float]:
        entries = weight.values.detach() if entries is None else entries
        return dict(zip(weight.pattern.links.positions().tolist(), entries.tolist(), strict=True))

    return read


@pytest.fixture(scope="session")
def stir() -> Callable[[nn.Module], None]:
    """Draws all parameters of a model anew."""

    @torch.no_grad()
    def draw(model: nn.Module) -> None:
        for parameter in model.parameters():
            parameter.normal_()

    return draw
