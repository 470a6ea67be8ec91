"""Inference without gradients: sparse networks against dense and quantized ones of torch.

Every network has one layer with as many inputs as units, and input weights as sparse as the
recurrent ones. The dense network computes the same function, which is checked first; the quantized
one is made of the dense one by torch's dynamic quantization to int8. "step" is one step of a
stream: ``step()`` of ours, and nn.RNNCell, nn.LSTMCell or nn.GRUCell.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from torch import Tensor, nn

from benchmarks._harness import Options
from benchmarks._report import progress, quartiles, report
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN

STEPS = 50
RECURRENT: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "RNN": (SparseRNN, nn.RNNCell),
    "LSTM": (SparseLSTM, nn.LSTMCell),
    "GRU": (SparseGRU, nn.GRUCell),
}
QUICK_UNITS = (16,)


@dataclass(frozen=True)
class Inference(Options):
    """Options of all benchmarks, and the cases.

    Attributes:
        networks: names of networks, of RNN, LSTM, GRU and linear.
        units: inputs and outputs of the layer, for each case.
        densities: fractions of the weights that exist, for each case.
        batches: batch sizes, for each case.
    """

    seconds: float = 0.3
    networks: tuple[str, ...] = (*RECURRENT, "linear")
    units: tuple[int, ...] = (256, 512, 1024, 2048)
    densities: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05)
    batches: tuple[int, ...] = (1, 8)


def quantized(network: nn.Module) -> nn.Module | None:
    """Return the network with int8 weights, or None for nn.RNN, which torch does not quantize."""
    kinds = {nn.Linear, nn.LSTM, nn.GRU}
    if type(network) not in kinds:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = nn.Sequential(network)  # of which torch quantizes the members
        return torch.ao.quantization.quantize_dynamic(parts, kinds, dtype=torch.qint8)[0]


def layers(name: str, units: int, density: float) -> tuple[nn.Module, nn.Module]:
    """Return a sparse layer, and the dense one that computes the same."""
    if name == "linear":
        linear = SparseLinear(units, units, density=density)
        return linear, linear.to_dense()
    network = RECURRENT[name][0](units, units, density=density, input_density=density)
    return network, network.to_dense()


def cell_of(name: str, dense: nn.Module, units: int) -> nn.Module:
    """Return the cell of torch with the weights of a network of one layer."""
    cell = RECURRENT[name][1](units, units)
    entries = dense.state_dict().items()
    cell.load_state_dict({key.removesuffix("_l0"): each for key, each in entries})
    return cell


def first(result: Any) -> Tensor:
    """Return the output of a network, without its states."""
    return result if isinstance(result, Tensor) else result[0]


def check(ours: Callable[[], Any], theirs: Callable[[], Any]) -> None:
    """Check that two contestants compute the same."""
    torch.testing.assert_close(first(ours()), first(theirs()), rtol=1e-4, atol=1e-4)


def row(name: str, units: int, density: float, batch: int, options: Inference) -> dict:
    """Check and measure one case."""
    sparse, dense = layers(name, units, density)
    int8 = quantized(dense)
    x = torch.randn(batch, units) if name == "linear" else torch.randn(STEPS, batch, units)
    cases: dict[str, Callable[[], Any]] = {
        "sparse_engine": lambda: sparse(x),
        "dense": lambda: dense(x),
    }
    if int8 is not None:
        cases["int8"] = lambda: int8(x)
    check(cases["sparse_engine"], cases["dense"])
    if name != "linear":
        cell, now = cell_of(name, dense, units), x[0]
        _, hx = sparse(x[:1])
        state = (hx[0][0], hx[1][0]) if isinstance(hx, tuple) else hx[0]
        cases |= {"step": lambda: sparse.step(now, hx), "cell": lambda: cell(now, state)}
        check(lambda: sparse.step(now, hx), lambda: cell(now, state))
    timings = options.measure(cases)
    median = {each: timing.median for each, timing in timings.items()}
    ours = median["sparse_engine"]
    case: dict[str, Any] = {"network": name, "units": units, "density": density, "B": batch}
    case |= {"us": 1e6 * ours, "x dense": median["dense"] / ours}
    if "int8" in median:
        case["x int8"] = median["int8"] / ours
    if "step" in median:
        case |= {"step us": 1e6 * median["step"], "x cell": median["cell"] / median["step"]}
    return case | quartiles(timings)


@torch.no_grad()
def run(options: Inference) -> None:
    """Measure all cases and report them."""
    options.prepare()
    sizes = QUICK_UNITS if options.quick else options.units
    cases = [
        (name, units, density, batch)
        for name in options.networks
        for units in sizes
        for density in options.densities
        for batch in options.batches
    ]
    rows = [row(*case, options) for case in progress(cases, "inference")]
    report("inference", rows, options, steps=STEPS)


if __name__ == "__main__":
    run(tyro.cli(Inference, description=__doc__))
