"""Link parameters that fully_shard has distributed: whole for a rewiring, then shared out again."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparse_engine.nn import SparseWeight
from sparse_engine.ops._dispatch.private import resize_sharded


@contextmanager
def gathered(
    model: nn.Module, weights: Sequence[SparseWeight], optimizer: Optimizer | None
) -> Iterator[None]:
    """Let weights have all of their link parameters in every process within the block.

    Where ``fully_shard`` has distributed none of them, nothing happens. Otherwise parameters,
    gradients and optimizer state are gathered, and shared out again at the end, also after an
    error. The Parameter objects stay, in the model and in the optimizer.
    """
    _reshard(model)
    parts = [
        _Part.gather(weight, name, optimizer)
        for weight in weights
        for name in weight.link_parameters
        if is_distributed(getattr(weight, name))
    ]
    try:
        yield
    finally:
        for part in parts:
            part.share_out(model)


def is_distributed(tensor: Tensor) -> bool:
    """Whether a tensor is a DTensor; importing its module to ask it would take a second."""
    return hasattr(tensor, "placements")


def _reshard(model: nn.Module) -> None:
    """Let modules that have run without a backward pass give up their copies of the parameters."""
    fsdp: Any = sys.modules.get("torch.distributed.fsdp")
    if fsdp is not None:
        for module in model.modules():
            if isinstance(module, fsdp.FSDPModule):
                module.reshard()


@dataclass(frozen=True)
class _Part:
    """One link parameter: the sharded Parameter, and the whole one in its place."""

    weight: SparseWeight
    name: str
    optimizer: Optimizer | None
    sharded: Any
    whole: nn.Parameter

    @classmethod
    @torch.no_grad()
    def gather(cls, weight: SparseWeight, name: str, optimizer: Optimizer | None) -> _Part:
        sharded: Any = getattr(weight, name)
        whole = nn.Parameter(sharded.full_tensor(), requires_grad=sharded.requires_grad)
        if sharded.grad is not None:
            whole.grad = sharded.grad.full_tensor()
        part = cls(weight, name, optimizer, sharded, whole)
        part._exchange(sharded, whole, lambda entry: entry.full_tensor())
        return part

    @torch.no_grad()
    def share_out(self, model: nn.Module) -> None:
        sharded, whole = self.sharded, self.whole
        gradient = None if whole.grad is None else self._share(whole.grad)
        if whole.shape == sharded.shape:
            sharded.to_local().copy_(self._share(whole).to_local())
            self._exchange(whole, sharded, self._share)
        else:
            self._exchange(whole, sharded, self._share)
            sharded.grad = None
            resize_sharded(model, self.weight, self.name, sharded, whole)
        sharded.grad = gradient

    def _share(self, entry: Tensor) -> Any:
        """Return this process's share of a tensor that every process has, as a DTensor."""
        from torch.distributed.tensor import distribute_tensor

        like = self.sharded
        shared = distribute_tensor(
            entry.detach(), like.device_mesh, like.placements, src_data_rank=None
        )
        return shared.clone()

    def _exchange(self, old: Any, new: Any, moved: Any) -> None:
        """Put another Parameter into the weight and the optimizer, with its state ``moved``."""
        shape = old.shape
        self.weight._parameters[self.name] = new
        if self.optimizer is None:
            return
        for group in self.optimizer.param_groups:
            group["params"] = [new if each is old else each for each in group["params"]]
        state = self.optimizer.state.pop(old, None)
        if state is not None:
            self.optimizer.state[new] = {
                name: moved(entry) if isinstance(entry, Tensor) and entry.shape == shape else entry
                for name, entry in state.items()
            }
