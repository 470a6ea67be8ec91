"""Memory of a training step, found by small runs, and checkpoints that fit a budget."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from typing_extensions import override

from sparse_engine.connectome.network import ConnectomeNetwork
from sparse_engine.nn import Recurrent
from sparse_engine.nn.options import check_integer

#: Steps of the small runs of a network without checkpoints, and sequences of all small runs. A
#: kernel's own buffers have fewer columns than 16 at fewer sequences.
STEPS, BATCHES = 4, (16, 32)


def memory_estimate(
    model: ConnectomeNetwork | Recurrent,
    steps: int,
    batch: int,
    optimizer: Optimizer | Callable[..., Optimizer] = Adam,
) -> int:
    """Return the most bytes that a training step takes: model, gradients, optimizer and states.

    A few small forward and backward passes are run, whose memory grows with steps and with
    sequences in straight lines. The loss is taken to depend on all outputs, and to need twice their
    memory. The memory of Python and its libraries, about 300 MB, is not counted.

    Args:
        model: the network, on the CPU.
        steps: time steps of a sequence.
        batch: number of sequences.
        optimizer: the optimizer, or its class.

    Raises:
        TypeError: steps or batch that are no int.
        ValueError: steps or batch below 1.

    Example:
        >>> rnn = SparseRateRNN(8, 1000, density=0.01)
        >>> memory_estimate(rnn, steps=100, batch=16) < 50e6
        True
    """
    for name, size in (("steps", steps), ("batch", batch)):
        check_integer(name, size, least=1)
    trained = [each for each in model.parameters() if each.requires_grad]
    own = sum({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
               for each in (*model.parameters(), *model.buffers())}.values())  # fmt: skip
    gradients = sum(each.nbytes for each in trained)
    moments = sum(state_bytes(each, optimizer) for each in trained)
    update = 2 * max((each.nbytes for each in trained), default=0)
    # Gradients of parameters are part of what a backward pass allocates.
    return own + moments + max(_of_passes(model, steps, batch), gradients + update)


def fit_checkpoints(
    network: ConnectomeNetwork,
    steps: int,
    batch: int,
    budget: float,
    optimizer: Optimizer | Callable[..., Optimizer] = Adam,
) -> int | None:
    """Set ``checkpoint_every`` of a network, so that a training step fits in ``budget`` bytes.

    Fewest checkpoints win; none where all states fit.

    Raises:
        MemoryError: no number of checkpoints is enough; ``checkpoint_every`` stays.
    """
    before, least = network.checkpoint_every, float("inf")
    segments: list[int | None] = [None]
    segments += sorted({-(-steps // parts) for parts in range(2, steps + 1)}, reverse=True)
    for every in segments:
        network.checkpoint_every = every
        needed = memory_estimate(network, steps, batch, optimizer)
        if needed <= budget:
            return every
        if needed > 1.2 * least:
            break
        least = min(least, needed)
    network.checkpoint_every = before
    raise MemoryError(
        f"expected a budget of at least {least / 1e9:.3f} GB for {steps} steps of {batch} "
        f"sequences, found {budget / 1e9:.3f} GB"
    )


def state_bytes(parameter: Tensor, optimizer: Optimizer | Callable[..., Optimizer]) -> int:
    """Return the bytes that an optimizer keeps for a parameter, by those for one of two numbers."""
    small = nn.Parameter(torch.zeros(2, dtype=parameter.dtype))
    if isinstance(optimizer, Optimizer):
        made: Any = type(optimizer)([small], **optimizer.defaults)
    else:
        made = optimizer([small])
    small.grad = torch.ones_like(small)
    made.step()
    kept = [each for each in made.state[small].values() if isinstance(each, Tensor)]
    sized = sum(each.element_size() for each in kept if each.shape == small.shape)
    return sized * parameter.numel()


def _of_passes(model: ConnectomeNetwork | Recurrent, steps: int, batch: int) -> int:
    """Return the most bytes of a forward and backward pass, by runs with fewer steps."""
    every = model.checkpoint_every
    if every is None or every >= steps:
        shorter = [STEPS, 2 * STEPS] if steps > 2 * STEPS else [steps]
    else:
        shorter = [2 * every, 3 * every] if steps > 3 * every else [steps]
    sequences = BATCHES if batch > BATCHES[1] else (batch,)
    of_batch = [
        _along([_peak(model, each, columns) for each in shorter], shorter, steps)
        for columns in sequences
    ]
    return int(_along(of_batch, sequences, batch))


def _along(found: list[float], at: Any, wanted: int) -> float:
    """Return the value at ``wanted`` on the line through one or two points."""
    if len(found) == 1:
        return found[0]
    slope = (found[1] - found[0]) / (at[1] - at[0])
    return found[1] + slope * (wanted - at[1])


def _peak(model: ConnectomeNetwork | Recurrent, steps: int, batch: int) -> float:
    """Return the most bytes that are allocated at a time in a forward and backward pass."""
    trained = [each for each in model.parameters() if each.requires_grad]
    with torch.random.fork_rng(), torch.enable_grad(), _Storages() as storages:
        outputs = _outputs(model, steps, batch)
        if trained:
            loss = torch.stack([each.square().sum() for each in outputs]).sum()
            torch.autograd.grad(loss, trained, allow_unused=True)
    return float(storages.most)


class _Storages(TorchDispatchMode):
    """Counts the bytes of all results of operations that are alive, and the most at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for each in tree_leaves(results):
            if isinstance(each, Tensor):
                self._count(each.untyped_storage())
        return results

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if address in self._known or not size:
            return
        self._known.add(address)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, address, size)

    def _forget(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.now -= size


def _outputs(model: ConnectomeNetwork | Recurrent, steps: int, batch: int) -> list[Tensor]:
    like = next(model.parameters())
    if isinstance(model, Recurrent):
        return [model(like.new_zeros(steps, batch, model.input_size))[0]]
    inputs = {
        name: like.new_zeros(steps, batch, len(units)) for name, units in model.inputs.items()
    }
    return [*model(inputs)[0].values()]
