"""Agreement of the processes that train one model together, as under DistributedDataParallel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from torch import Tensor, distributed

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

#: Hashes of links by the names of their weights.
Hashes = Mapping[str, str]

_group: ContextVar[ProcessGroup | None] = ContextVar("process group", default=None)


@contextmanager
def among(group: ProcessGroup | None) -> Iterator[None]:
    """Let the other functions mean the ranks of ``group`` meanwhile; None is the default group."""
    token = _group.set(group)
    try:
        yield
    finally:
        _group.reset(token)


def several() -> bool:
    """Whether this process trains the model together with others."""
    ready = distributed.is_available() and distributed.is_initialized()
    return ready and distributed.get_world_size(_group.get()) > 1


def mean_(entries: Tensor) -> Tensor:
    """Replace ``entries`` by their mean over the ranks, the same bits on each, and return them."""
    if several():
        distributed.all_reduce(entries, group=_group.get())
        entries /= distributed.get_world_size(_group.get())
    return entries


def check_same(hashes: Hashes) -> None:
    """Raise RuntimeError, the same on all ranks, that names the first of other hashes."""
    found: list[Hashes] = [{}] * distributed.get_world_size(_group.get())
    distributed.all_gather_object(found, hashes, group=_group.get())
    ranks = distributed.get_process_group_ranks(_group.get())
    for rank, own in zip(ranks, found, strict=True):
        for name in [*found[0], *own]:
            if found[0].get(name) != own.get(name):
                raise RuntimeError(
                    f"expected a rewiring to choose the same links on all ranks, found other links "
                    f"in {name!r} on rank {rank} than on rank {ranks[0]}: models, optimizers and "
                    "seeds have to be equal on all ranks, and gradients averaged; ranks that train "
                    "models of their own need a process_group of their own"
                )
