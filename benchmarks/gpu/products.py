"""Single products against cuSPARSE, as torch.sparse calls it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import torch
from torch.sparse import sampled_addmm

from benchmarks._peers import torch_csr
from benchmarks._report import Row, quartiles
from benchmarks.gpu.cases import Case
from benchmarks.gpu.model import Weight, device_called
from benchmarks.gpu.timing import both_ways, copy_rate, measure
from sparse_engine import ops
from sparse_engine.nn import SparseWeight
from sparse_engine.ops._dispatch.native import native

#: (neurons, density, columns)
SIZES = [
    (neurons, density, columns)
    for neurons, density in [
        *((4096, density) for density in (0.01, 0.02, 0.05, 0.1)),
        *((16_384, density) for density in (0.005, 0.01, 0.02, 0.05)),
        (100_000, 0.001),
    ]
    for columns in (32, 128)
]
ONE_COLUMN = (100_000, 0.001, 1)
QUICK = [(256, 0.1, 32), (256, 0.1, 1)]


def cases(*, quick: bool) -> Iterator[Case]:
    """A case per size: a row per operation."""
    for size in QUICK if quick else [ONE_COLUMN, *SIZES]:
        yield Case("products {} {} {}".format(*size), partial(of_size, *size))


rate_of_copies = cache(copy_rate)


def of_size(neurons: int, density: float, columns: int) -> Iterator[Row]:
    """The operations on one weight."""
    weight = SparseWeight.erdos_renyi(neurons, neurons, density=density)
    weight = weight.requires_grad_(False).cuda()
    values, pattern, csr = weight.values, weight.pattern, torch_csr(weight)
    x, y = (torch.randn(weight.shape[1], columns, device="cuda") for _ in range(2))
    torch.testing.assert_close(ops.spmm(values, pattern, x), csr @ x, rtol=1e-4, atol=1e-4)
    ours = partial(ops.spmm, values, pattern, x)
    timings = measure({"ours": ours, **both_ways(ours), "torch": lambda: csr @ x})
    share = 8 * weight.nnz / timings["ours"].median / rate_of_copies() if columns == 1 else None
    product = row("spmm", weight, columns, timings, target=1.5 if columns > 1 else 2.0)
    yield {**product, "share of copy": share}
    ours = partial(ops.spmm_t, values, pattern, x)
    yield row("spmm_t", weight, columns, measure({"ours": ours, **both_ways(ours)}))
    ours, peer = lambda: ops.sddmm(pattern, y, x), lambda: sampled_addmm(csr, y, x.T, beta=0.0)
    yield row("sddmm", weight, columns, measure({"ours": ours, "torch": peer}), target=2.0)
    ours = partial(native.linear_backward, values, [*pattern], x, y)

    def apart() -> None:
        ops.spmm_t(values, pattern, y), ops.sddmm(pattern, y, x)

    timings = measure({"ours": ours, **both_ways(ours), "one by one": apart})
    yield row("linear_backward", weight, columns, timings)


def row(name: str, weight: SparseWeight, columns: int, timings, target=None) -> Row:
    """Return the measured times of an operation as a row of the table."""
    ours = timings["ours"].median
    ratios = {f"x {peer}": t.median / ours for peer, t in timings.items() if peer != "ours"}
    device = device_called(torch.cuda.get_device_name())
    model = Weight(*weight.shape, weight.nnz, columns)
    return {
        "operation": name,
        "n": weight.shape[0],
        "density": weight.density,
        "B": columns,
        "us": 1e6 * ours,
        "model us": 1e6 * model.product(device) if device and name.startswith("spmm") else None,
        "gathered TB/s": 4 * columns * weight.nnz / ours / 1e12,
        **ratios,
        "target": target,
        **quartiles(timings),
    }
