"""Training steps of recurrent layers against dense and torch.sparse loops: T = 50, B = 32."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks._peers import torch_csr
from benchmarks._report import Row, quartiles
from benchmarks.gpu.cases import Case
from benchmarks.gpu.timing import both_ways, measure
from sparse_engine.nn import SparseLSTM, SparseRNN
from sparse_engine.topology import SET

STEPS, BATCH, INPUTS = 50, 32, 64
TARGETS = {0.01: "2x masked, 3x CSR", 0.001: "10x masked, 3x CSR"}


def training_step(forward: Callable[[], Tensor], leaves: list[Tensor]) -> Callable[[], None]:
    """Gradients cleared, forward, backward; the optimizer is left out."""

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        forward().float().square().mean().backward()

    return run


def elman(hidden: int, density: float) -> dict[str, Callable[[], None]]:
    """SparseRNN, also both ways; the dense loop with a mask that is applied once per training step,
    in float32 and bfloat16; a loop over torch.sparse."""
    layer = SparseRNN(INPUTS, hidden, density=density).cuda()
    x = torch.randn(STEPS, BATCH, INPUTS, device="cuda")
    weight = layer.weight_hh_l0
    w_input = layer.weight_ih_l0.detach().clone().requires_grad_()
    bias = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().requires_grad_()
    dense = weight.to_dense().detach().requires_grad_()
    mask = (dense != 0).float()
    csr = torch_csr(weight).requires_grad_()

    def masked(dtype: torch.dtype) -> Tensor:
        w = (dense * mask).to(dtype)
        z = (x @ w_input.T + bias).to(dtype)
        h, states = z.new_zeros(BATCH, hidden), []
        for step in z:
            h = torch.tanh(torch.addmm(step, h, w.T))
            states.append(h)
        return torch.stack(states)

    def by_csr() -> Tensor:
        z = (x @ w_input.T + bias).transpose(1, 2)
        h, states = z.new_zeros(hidden, BATCH), []
        for step in z:
            h = torch.tanh(torch.sparse.addmm(step, csr, h))
            states.append(h)
        return torch.stack(states)

    with torch.no_grad():
        torch.testing.assert_close(layer(x)[0], masked(torch.float32), rtol=1e-3, atol=1e-3)
    ours = training_step(lambda: layer(x)[0], [*layer.parameters()])
    return {
        "ours": ours,
        **both_ways(ours),
        "masked": training_step(lambda: masked(torch.float32), [w_input, bias, dense]),
        "masked bf16": training_step(lambda: masked(torch.bfloat16), [w_input, bias, dense]),
        "CSR": training_step(by_csr, [w_input, bias, csr]),
    }


def lstm(hidden: int, density: float) -> dict[str, Callable[[], None]]:
    """SparseLSTM, also both ways, and cuDNN's dense LSTM, which trains another model."""
    layer = SparseLSTM(INPUTS, hidden, density=density).cuda()
    peer = nn.LSTM(INPUTS, hidden).cuda()
    x = torch.randn(STEPS, BATCH, INPUTS, device="cuda")
    ours = training_step(lambda: layer(x)[0], [*layer.parameters()])
    return {
        "ours": ours,
        **both_ways(ours),
        "nn.LSTM": training_step(lambda: peer(x)[0], [*peer.parameters()]),
    }


def cases(*, quick: bool) -> Iterator[Case]:
    """A case per layer and density."""
    for density in (0.1,) if quick else (0.01, 0.001, 0.05, 0.005):
        hidden = 128 if quick else 16_384
        yield Case(f"RNN {hidden} {density}", partial(rnn_rows, hidden, density))
    hidden, density = (128, 0.1) if quick else (4096, 0.01)
    yield Case(f"LSTM {hidden} {density}", partial(lstm_rows, hidden, density))
    yield Case("million neurons", partial(million, quick=quick))


def rnn_rows(hidden: int, density: float) -> list[Row]:
    """SparseRNN and its peers."""
    timings = measure(elman(hidden, density), repeats=8, with_dispatch=True)
    return [row("RNN", hidden, density, timings, TARGETS.get(density))]


def lstm_rows(hidden: int, density: float) -> list[Row]:
    """SparseLSTM and its peer."""
    timings = measure(lstm(hidden, density), repeats=8, with_dispatch=True)
    return [row("LSTM", hidden, density, timings, "1.5x nn.LSTM")]


def row(name: str, hidden: int, density: float, timings, target=None) -> Row:
    """Times, and how many times longer each other contestant takes."""
    ours = timings["ours"].median
    ratios = {f"x {peer}": t.median / ours for peer, t in timings.items() if peer != "ours"}
    return {
        "layer": name,
        "hidden": hidden,
        "density": density,
        "ms": 1e3 * ours,
        **ratios,
        "target": target,
        **quartiles(timings),
    }


def million(*, quick: bool) -> list[Row]:
    """A million neurons and a hundred million links, T = 20, B = 16, with Adam."""
    neurons, links = (1000, 10_000) if quick else (1_000_000, 100_000_000)
    layer = SparseRNN(INPUTS, neurons, density=links / neurons**2).cuda()
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    x = torch.randn(20, 16, INPUTS, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        optimizer.zero_grad()
        layer(x)[0].square().mean().backward()
        optimizer.step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    of_steps = {
        "layer": "RNN, Adam",
        "hidden": neurons,
        "density": links / neurons**2,
        "ms": 1e3 * min(times),
        "GB": torch.cuda.max_memory_allocated() / 1e9,
    }
    rewiring = SET(layer, optimizer, fraction=0.3, every=1)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        rewiring.step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return [of_steps, {**of_steps, "layer": "SET, Adam", "ms": 1e3 * min(times)}]
