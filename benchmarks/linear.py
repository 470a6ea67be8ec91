"""SparseLinear, forward and backward, against dense and sparse layers.

Dense: nn.Linear, and the same with a masked weight. Sparse: torch.sparse's CSR, and torch_sparse,
sparseprop and sparselab where they are installed. All compute the same function, which is checked
first, and all gradients: of the input, the weight and the bias.
"""

from __future__ import annotations

import torch
import tyro
from torch import Tensor
from torch.nn import functional

from benchmarks._contest import Contestant, check, steps
from benchmarks._harness import Options
from benchmarks._peers import OPTIONAL, bias_of, installed, torch_csr_layer
from benchmarks._report import progress, quartiles, report
from sparse_engine.nn import SparseLinear

SHAPES = [(768, 3072, 128), (768, 3072, 2048), (4096, 4096, 32), (1024, 1024, 32)]
CASES = [(*shape, density) for shape in SHAPES for density in (0.10, 0.05, 0.01)]
QUICK = [(32, 48, 16, 0.1)]
TARGET = 2.0


def dense_layers(layer: SparseLinear, x: Tensor) -> dict[str, Contestant]:
    """nn.Linear of the same function, and with a mask on its weight."""
    plain = layer.to_dense()
    weight = plain.weight.detach().clone().requires_grad_()
    mask = layer.weight.pattern.dense(torch.ones(layer.weight.nnz))
    bias = bias_of(layer)
    return {
        "nn.Linear": Contestant(
            lambda: plain(x), {"x": x, "links": plain.weight, "bias": plain.bias}
        ),
        "masked": Contestant(
            lambda: functional.linear(x, weight * mask, bias),
            {"x": x, "links": weight, "bias": bias},
        ),
    }


def row(inputs: int, outputs: int, batch: int, density: float, options: Options) -> dict:
    """Checks and measures one case."""
    layer = SparseLinear(inputs, outputs, density=density)
    x = torch.randn(batch, inputs, requires_grad=True)
    upstream = torch.randn(batch, outputs)
    leaves = {"x": x, "links": layer.weight.values, "bias": layer.bias}
    dense = dense_layers(layer, x)
    sparse = {"torch CSR": torch_csr_layer(layer, x)} | installed(layer, x)
    contestants = {"sparse_engine": Contestant(lambda: layer(x), leaves)} | dense | sparse
    check(contestants, upstream, {"links": layer.weight.pattern})
    timings = options.measure(steps(contestants, upstream))
    median = {name: timing.median for name, timing in timings.items()}
    ours = median.pop("sparse_engine")
    sizes = {"in": inputs, "out": outputs, "B": batch, "density": density, "ms": 1e3 * ours}
    ratios = {
        "x best dense": min(median[name] for name in dense) / ours,
        "x best sparse": min(median[name] for name in sparse) / ours,
        "x best peer": min(median.values()) / ours,
    }
    times = {f"{name} ms": 1e3 * seconds for name, seconds in median.items()}
    return sizes | times | ratios | {"target": TARGET} | quartiles(timings)


def run(options: Options) -> None:
    """Measures all cases and reports them."""
    options.prepare()
    cases = QUICK if options.quick else CASES
    rows = [row(*case, options) for case in progress(cases, "linear")]
    absent = [name for name in OPTIONAL if f"{name} ms" not in rows[0]]
    for name in absent:
        print(f"{name}: not installed")
    report("linear", rows, options, not_installed=absent)


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__))
