"""Ranks that train one run together, as torchrun starts them; the first alone writes files."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sparse_engine.lab.tasks import Step, Task
from sparse_engine.topology.ranks import several

T = TypeVar("T")

#: Time that ranks wait for each other, such as for the first at an evaluation.
PATIENCE = timedelta(hours=1)


@contextmanager
def joined() -> Iterator[None]:
    """Train with the other processes of torchrun within the block; without torchrun, alone.

    Raises:
        ConnectionError: another rank has ended.
    """
    if not distributed.is_torchelastic_launched() or distributed.is_initialized():
        yield
        return
    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if "gloo" not in str(error) and "peer" not in str(error):
            raise
        raise ConnectionError(
            f"expected all ranks to train until the end, found that rank {rank()} of {count()} "
            "has lost another; the last checkpoint is whole: go on with --resume"
        ) from error
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process among the ranks."""
    return distributed.get_rank() if several() else 0


def count() -> int:
    """Return the number of ranks."""
    return distributed.get_world_size() if several() else 1


def on_first(function: Callable[[], T]) -> T:
    """Call a function on the first rank alone; all return its result, or raise its error."""
    if not several():
        return function()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = function()
        except Exception as error:
            outcome[1] = error
    distributed.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def on_any(flag: bool) -> bool:
    """Whether a flag is set on a rank."""
    if not several():
        return flag
    flags = torch.tensor([int(flag)])
    distributed.all_reduce(flags)
    return bool(flags.item())


class Loss(nn.Module):
    """The task's loss of a model as a module, for wrappers of modules."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, step: Step) -> Tensor:
        """Return the loss on this rank's share of the step's batch."""
        return self.task.loss(self.model, step)


def averaged_loss(task: Task, model: nn.Module) -> Callable[[Step], Tensor]:
    """Return the loss whose gradients are averaged over the ranks.

    It is made anew when the number of links changes.
    """
    loss = Loss(task, model)
    if not several():
        return loss
    # Ranks rewire alike, and need not be sent the links of the first at every step.
    renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    option: Any = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
    return DistributedDataParallel(loss, **option)
