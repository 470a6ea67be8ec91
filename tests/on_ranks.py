"""A function on several ranks of gloo, each a process of its own."""

import copy
from datetime import timedelta

import torch
from fresh_process import CONTEXT
from torch import distributed


def on_ranks(folder, ranks, task, *arguments, timeout=120):
    """Return what ``task(rank, *arguments)`` returns on each rank, or the Exception it raises.

    Args:
        folder: an empty folder.
        ranks: number of processes.
        task: function of a module, with a number of its rank as first argument.
        *arguments: copied for each rank.
        timeout: seconds after which the processes are killed.
    """
    started = [
        CONTEXT.Process(target=_joined, args=(rank, ranks, folder, task, arguments))
        for rank in range(ranks)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout)
        process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(ranks)]


def _joined(rank, ranks, folder, task, arguments):
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), ranks)
    distributed.init_process_group(
        "gloo", store=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=60)
    )
    try:
        # Processes share the memory of tensors that they are given.
        result = task(rank, *copy.deepcopy(arguments))
    except Exception as error:
        result = error
    torch.save(result, folder / f"{rank}.pt")
    distributed.destroy_process_group()
