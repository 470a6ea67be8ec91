"""Links with int8 and bfloat16 values against float32 links at B = 1.

A linear layer, a sequence of 20 steps, and a step of an LSTM by a call of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import tyro
from torch import nn
from torch.testing import assert_close

import sparse_engine
from benchmarks._harness import Options
from benchmarks._report import progress, quartiles, report
from sparse_engine.nn import SparseLinear, SparseLSTM, SparseRNN

KINDS: dict[str, Callable[..., nn.Module]] = {
    "linear": SparseLinear,
    "rnn": SparseRNN,
    "lstm": SparseLSTM,
    "step": SparseLSTM,
}
CASES = [
    (kind, units, density)
    for kind in ("linear", "rnn", "lstm")
    for units in (1024, 4096)
    for density in (0.10, 0.05, 0.01)
] + [("step", units, 0.10) for units in (256, 1024, 2048, 4096)]
QUICK = [("linear", 64, 0.3), ("lstm", 64, 0.3), ("step", 64, 0.3)]
STEPS = 20
TARGET = 1.6


def row(kind: str, units: int, density: float, options: Options) -> dict:
    """Checks and measures one case; a recurrent network has few inputs, which stay dense."""
    inputs = units if kind == "linear" else 8
    layer = KINDS[kind](inputs, units, density=density).eval()
    x = torch.randn(1, inputs) if kind == "linear" else torch.randn(STEPS, 1, inputs)
    models: dict[str, nn.Module] = {"float32": layer}
    bytes_of_link = {}
    for dtype in (torch.int8, torch.bfloat16):
        small, rows = sparse_engine.quantize(layer, dtype=dtype)
        name = str(dtype).removeprefix("torch.")
        models[name] = small
        links = sum(r.density * r.shape[0] * r.shape[1] for r in rows.values())
        bytes_of_link[f"{name} B/link"] = rows.bytes_after / links
    for small in models.values():
        assert_close(_output(small, x), _output(layer, x), rtol=0.2, atol=0.05)
    timings = options.measure({name: _call(kind, m, x) for name, m in models.items()})
    median = {name: timing.median for name, timing in timings.items()}
    times = {f"{name} us": 1e6 * seconds for name, seconds in median.items()}
    ratios = {f"x {name}": median["float32"] / median[name] for name in models if name != "float32"}
    sizes = {"layer": kind, "units": units, "density": density}
    return sizes | bytes_of_link | times | ratios | {"target": TARGET} | quartiles(timings)


def _call(kind: str, model: Any, x: torch.Tensor) -> Callable[[], object]:
    if kind != "step":
        return lambda: model(x)
    _, state = model.step(x[0])
    return lambda: model.step(x[0], state)


def _output(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = model(x)
    return y if isinstance(y, torch.Tensor) else y[0]


@torch.inference_mode()
def run(options: Options) -> None:
    """Measures all cases and reports them."""
    options.prepare()
    cases = QUICK if options.quick else CASES
    rows = [row(*case, options) for case in progress(cases, "quantized")]
    report("quantized", rows, options)


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__))
