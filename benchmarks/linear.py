"""SparseLinear, forward and backward, against dense and sparse peers.

The peers: nn.Linear, torch.sparse's CSR matrix with autograd, and torch_sparse where it is
installed. All gradients are computed: of the input, the weight and the bias.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import tyro
from torch import Tensor, nn

from benchmarks.harness import Options, measure, progress, report, step
from benchmarks.ops.case import torch_csr
from sparse_engine.nn import SparseLinear

SHAPES = [(768, 3072, 128), (768, 3072, 2048), (4096, 4096, 32), (1024, 1024, 32)]
CASES = [(*shape, density) for shape in SHAPES for density in (0.10, 0.05, 0.01)]
QUICK = [(32, 48, 8, 0.1)]
TARGET = 2.0

Peer = Callable[[Tensor], Tensor]


def contestants(layer: SparseLinear) -> dict[str, tuple[Peer, list[Tensor]]]:
    """Functions equal to ``layer`` by name, each with the tensors whose gradients it makes."""
    weight, bias = layer.weight, layer.bias.detach().clone().requires_grad_()
    dense = nn.Linear(layer.in_features, layer.out_features)
    csr = torch_csr(weight).requires_grad_()
    found: dict[str, tuple[Peer, list[Tensor]]] = {
        "sparse_engine": (layer, [*layer.parameters()]),
        "nn.Linear": (dense, [*dense.parameters()]),
        "torch CSR": (lambda x: (csr @ x.T).T + bias, [csr, bias]),
    }
    try:
        from torch_sparse import SparseTensor
    except ImportError:
        return found
    values = weight.values.detach().clone().requires_grad_()
    matrix = SparseTensor(
        rowptr=weight.crow_indices,
        col=weight.col_indices.long(),
        value=values,
        sparse_sizes=weight.shape,
    )
    found["torch_sparse"] = (lambda x: (matrix @ x.T).T + bias, [values, bias])
    return found


def run(options: Options) -> None:
    """Measures all cases and reports them."""
    options.prepare()
    rows = []
    for inputs, outputs, batch, density in progress(QUICK if options.quick else CASES, "linear"):
        layer = SparseLinear(inputs, outputs, density=density)
        x = torch.randn(batch, inputs, requires_grad=True)
        upstream = torch.randn(batch, outputs)
        steps = {
            name: step(partial(forward, x), [x, *leaves], upstream)
            for name, (forward, leaves) in contestants(layer).items()
        }
        median = measure(steps, seconds=options.seconds)
        ours = median.pop("sparse_engine")
        row = {"in": inputs, "out": outputs, "B": batch, "density": density, "ms": 1e3 * ours}
        row |= {f"{name} ms": 1e3 * seconds for name, seconds in median.items()}
        rows.append(row | {"x best peer": min(median.values()) / ours, "target": TARGET})
    report("linear", rows, options)


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__))
