"""Segments of sequences that are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from sparse_engine.nn.recurrent import Recurrent


def recomputed(network: Recurrent, name: str) -> Callable[..., tuple[Tensor, ...]]:
    """Return :meth:`Recurrent.run_layer` of one layer, computed again in the backward pass."""
    if torch.compiler.is_compiling():
        return partial(checkpoint, network.run_layer, name, use_reentrant=False)
    # By then a functional_call has ended, so the tensors that replace parameters are kept here.
    layer, parameters = _Layer(network, name), dict(network.named_parameters(prefix="network"))
    return partial(checkpoint, partial(_call, layer, parameters), use_reentrant=False)


class _Layer(nn.Module):
    """Layer of a network as a module, for ``functional_call``."""

    def __init__(self, network: Recurrent, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, *inputs: Any, **given: Any) -> tuple[Tensor, ...]:
        return self.network.run_layer(self.name, *inputs, **given)


def _call(
    module: nn.Module, parameters: dict[str, Any], *inputs: object, **given: Tensor
) -> tuple[Tensor, ...]:
    return functional_call(module, parameters, inputs, given)
