"""Layers run in segments that are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from sparse_engine.nn.sequence import Sequence
from sparse_engine.ops._dispatch.private import inside_transform

if TYPE_CHECKING:
    from sparse_engine.nn.recurrent import Recurrent


def run_segments(
    network: Recurrent,
    every: int,
    name: str,
    sequence: Sequence,
    state: tuple[Tensor | None, ...],
    **drawn: Tensor,
) -> tuple[Tensor, ...]:
    """Do what :meth:`Recurrent.run_layer` does, keeping the state after every ``every`` steps."""
    if every >= sequence.steps or inside_transform():
        return network.run_layer(name, sequence, state, **drawn)
    run = _recomputed(network, name)
    outputs: list[Tensor] = []
    ends: list[Tensor] = []
    ended: list[list[Tensor]] = []
    for segment in sequence.segments(every):
        if ends and segment.batch_sizes is not None:
            ended.append([each[segment.batch :] for each in ends])
            ends = [each[: segment.batch] for each in ends]
        output, *ends = run(segment, tuple(ends) or state, **drawn)
        outputs.append(output)
    final = [torch.cat(parts) for parts in zip(ends, *reversed(ended), strict=True)]
    return torch.cat(outputs), *final


def _recomputed(network: Recurrent, name: str) -> Callable[..., tuple[Tensor, ...]]:
    if torch.compiler.is_compiling():
        return partial(checkpoint, network.run_layer, name, use_reentrant=False)
    # By then a functional_call has ended, so the tensors that replace parameters are kept here.
    layer = _Layer(network, name)
    parameters: dict[str, Any] = dict(network.named_parameters(prefix="network"))

    def run(*inputs: Any, **given: Tensor) -> tuple[Tensor, ...]:
        return functional_call(layer, parameters, inputs, given)

    return partial(checkpoint, run, use_reentrant=False)


class _Layer(nn.Module):
    """Layer of a network as a module, for ``functional_call``."""

    def __init__(self, network: Recurrent, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, *inputs: Any, **given: Any) -> tuple[Tensor, ...]:
        return self.network.run_layer(self.name, *inputs, **given)
