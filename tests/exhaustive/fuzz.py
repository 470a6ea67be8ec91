"""Calls the native operations with arguments that are wrong in some way, until time is up.

Run as a script, ``fuzz.py SEED SECONDS``: call number n has the seed ``SEED + n``, which is written
to standard output before the call. Whatever an operation raises is fine; what kills the process is
not. ``fuzz.py SEED 0`` makes that one call and prints its arguments.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable

import torch
from testing import CELLS, Recorder, copied, random_pattern
from torch import Tensor

from sparse_engine import nn, ops
from sparse_engine.nn._step import parameters_of
from sparse_engine.ops import Pattern, RandomKey
from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops.gated import STATES

PREFIX = "sparse_engine::"
EXTREMES = (-1, 0, 1, 2, 3, 7, 12, 13, 2**31 - 1, -(2**31), 2**31, 2**32, 2**62, -(2**63))
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int32, torch.int64)
# As many steps as these say are taken: more than a few would be no error, only slow.
COUNTS_OF_STEPS = ("unfolds",)


def networks() -> list[torch.nn.Module]:
    options = {"density": 0.4}
    return [
        *(make(4, 14, **options) for make in CELLS.values()),
        nn.SparseLSTM(4, 14, proj_size=6, **options),
    ]


def quantized() -> None:
    """Call the operations on quantized links."""
    pattern = random_pattern(36, 12, 150)
    with torch.no_grad():
        for int8 in (False, True):
            values = torch.randn(150)
            links = ops.quantized.quantize(values, pattern, int8=int8)
            ops.quantized.linear(torch.randn(3, 12), links, torch.randn(36))
            links = ops.quantized.quantize(values, pattern, gates=3, int8=int8)
            ops.quantized.dequantize(links, 12, gates=3)
            for batch in (1, 5):
                x, h0 = torch.randn(2, batch, 36), torch.randn(batch, 12)
                ops.quantized.sequence("gru", x, h0, None, None, links, in_features=12)


def steps() -> None:
    """Call the operations of single steps, which networks leave alone where calls are recorded."""
    for cell in STATES:
        for inputs in ({}, {"input_density": 0.5}):
            network, x = CELLS[cell](4, 14, density=0.4, **inputs), torch.randn(5, 4)
            sizes = network.num_layers, network.hidden_size, network.bias
            states = [torch.randn(1, 5, 14) for _ in network.states]
            options = network.cell.step_options()
            network.cell.step_kernel(x, states, parameters_of(network, x), *sizes, *options)
    spiking = nn.SparseLIF(1, 14, density=0.4, bias=False, keeps_current=False)
    step, unit = torch.randint(20, (60,)), torch.randint(14, (60,))
    spiking.simulate(20, (step, unit, 2.0))
    spiking.simulate(20, (step, unit, 2.0), refractory=torch.arange(14))


def influences() -> None:
    """Call the operation of real-time recurrent learning, with a gradient and without."""
    pattern, units = random_pattern(24, 12, 60), torch.arange(128, dtype=torch.int32) % 12
    slopes = torch.randn(2, 1, 12), torch.randn(2, 1, 1, 12), torch.randn(2, 1, 2, 12)
    given = torch.randn(60), [*pattern], *slopes, torch.randn(2, 1, 128), units
    for upstream in (None, torch.randn(2, 12)):
        native.influence(torch.randn(2, 2, 1, 12, 64), *given, upstream)


def recorded() -> list[tuple[torch._ops.OpOverload, list]]:
    """Calls of every native operation that are right, in float32 and in bfloat16."""
    with Recorder() as recorder:
        for narrow in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                for network in networks():
                    for batch in (1, 5):
                        x = torch.randn(3, batch, 4, requires_grad=True)
                        network(x)[0].sum().backward()
                        network(x, resets=torch.rand(3, batch) < 0.5)[0].sum().backward()
                for columns in (3, 130):
                    layer = nn.SparseLinear(12, 9, density=0.4)
                    layer(torch.randn(columns, 12, requires_grad=True)).sum().backward()
        lengths = torch.nn.utils.rnn.pack_sequence([torch.randn(n, 4) for n in (3, 2, 1)])
        nn.SparseGRU(4, 12, density=0.4)(lengths)[0].data.sum().backward()
        pattern = random_pattern(9, 12, 30)
        links, scores = pattern.links, torch.randn(30)
        keep = scores > 0
        Pattern.from_csr(links.crow, links.col, (9, 12))
        cells = ops.topology.sample_absent(links, 20, RandomKey(1))
        ops.topology.sample_absent(links, 20, RandomKey(1), dropped=~keep)
        rewired = ops.topology.rewire(links, keep, cells)
        ops.topology.carry(scores, rewired.slot_map, rewired.links.nnz)
        native.carry_(scores.clone(), torch.arange(30, dtype=torch.int32))
        ops.topology.smallest(scores, 10)
        ops.topology.nearest_zero(scores, 0.3)
        native.scan_absent(torch.randn(4, 12), links.crow, links.col, 12, 2, 0.5)
        native.ch3_l3(*pattern[:4], 5, True, 1, 2, 3)
        native.ch2_l3n(*pattern[:4], 5, False, 1, 2, 3)
        quantized()
        steps()
        influences()
        ops.spmm(torch.randn(4500), random_pattern(60, 80, 4500), torch.randn(80, 500))
    everything = torch._C._dispatch_get_all_op_names()
    names = {name.split(".")[0] for name in everything if name.startswith(PREFIX)}
    found = {operation.name().split(".")[0] for operation, _, _ in recorder.calls}
    assert names == found, f"never called: {sorted(names - found)}"
    return [(operation, arguments) for operation, arguments, _ in recorder.calls]


def overwritten(tensor: Tensor, draw: random.Random) -> Tensor:
    """A copy with a few entries that are extreme."""
    tensor = tensor.clone(memory_format=torch.contiguous_format)
    if tensor.numel() == 0:
        return tensor
    flat = tensor.view(-1)
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(flat.numel())
        if tensor.is_floating_point():
            flat[at] = draw.choice((torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1e30))
        elif tensor.dtype == torch.bool:
            flat.view(torch.uint8)[at] = draw.choice((0, 1, 2, 255))
        else:
            info = torch.iinfo(tensor.dtype)
            flat[at] = min(max(draw.choice(EXTREMES), info.min), info.max)
    return tensor


def without_memory(tensor: Tensor, draw: random.Random) -> Tensor:
    tensor = tensor.clone()
    tensor.untyped_storage().resize_(0)
    return tensor


CHANGES: tuple[Callable[[Tensor, random.Random], Tensor], ...] = (
    overwritten,
    overwritten,
    overwritten,
    lambda t, draw: t.to(draw.choice(DTYPES)),
    lambda t, draw: t[: draw.randrange(len(t) + 1)] if t.dim() else t,
    lambda t, draw: t.repeat_interleave(2, 0)[::2] if t.dim() else t,
    lambda t, draw: t.flip(0) if t.dim() else t,
    lambda t, draw: t.transpose(0, -1) if t.dim() else t,
    lambda t, draw: t.unsqueeze(0).expand(draw.choice((1, 2, 2**40)), *t.shape),
    lambda t, draw: t.new_empty([draw.choice((0, 0, 1, 5, 2**45)) for _ in t.shape] + [0]),
    lambda t, draw: t.new_empty([0 if i == 0 else n for i, n in enumerate(t.shape)]),
    lambda t, draw: torch.cat([t, t]) if t.dim() else t,
    lambda t, draw: t[..., 0] if t.dim() and t.shape[-1] else t,
    lambda t, draw: t[..., :1].expand_as(t) if t.dim() and t.shape[-1] else t,
    lambda t, draw: t.to_sparse() if t.dim() else t,
    without_memory,
)


def wrong(argument: object, name: str, draw: random.Random) -> object:
    """The argument of this name, changed in some way."""
    if isinstance(argument, Tensor):
        return None if draw.random() < 0.05 else draw.choice(CHANGES)(argument, draw)
    if isinstance(argument, bool):
        return not argument
    if isinstance(argument, int):
        return draw.choice(EXTREMES[:5] if name in COUNTS_OF_STEPS else EXTREMES)
    if isinstance(argument, float):
        return draw.choice((torch.nan, torch.inf, -torch.inf, -1.0, 0.0, 0.5, 1e300))
    if isinstance(argument, list) and argument:
        at = draw.randrange(len(argument))
        changed = [*argument]
        changed[at : at + 1] = [wrong(argument[at], name, draw)] if draw.random() < 0.8 else []
        return changed
    return argument


def arguments_of(
    calls: list[tuple[torch._ops.OpOverload, list]], seed: int
) -> tuple[torch._ops.OpOverload, list]:
    """The operation and the arguments of the call of this seed."""
    draw = random.Random(seed)
    by_name: dict[str, list] = {}
    for call in calls:
        by_name.setdefault(call[0].name(), []).append(call)
    operation, arguments = draw.choice(by_name[draw.choice(sorted(by_name))])
    arguments = copied(arguments)
    for at in draw.sample(range(len(arguments)), min(len(arguments), draw.choice((1, 1, 1, 2, 3)))):
        arguments[at] = wrong(arguments[at], operation._schema.arguments[at].name, draw)
    return operation, arguments


def described(argument: object) -> object:
    """Describe an argument without the entries of tensors, which may be nowhere."""
    if isinstance(argument, list | tuple):
        return [described(each) for each in argument]
    if isinstance(argument, Tensor):
        return argument.dtype, [*argument.shape], argument.layout
    return argument


def main(seed: int, seconds: float, memory: float) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(3)
    calls = recorded()
    if memory > 0:
        resource.setrlimit(resource.RLIMIT_AS, (int(memory * 2**30),) * 2)
    end = time.monotonic() + seconds
    while True:
        sys.stdout.write(f"{seed}\n")
        sys.stdout.flush()
        try:
            operation, arguments = arguments_of(calls, seed)
            if seconds == 0:
                print(operation, described(arguments))
            operation(*arguments)
        except (RuntimeError, ValueError, TypeError, IndexError, MemoryError, NotImplementedError):
            pass
        seed += 1
        if time.monotonic() >= end:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0)
