"""The time loops of the GPU that are not those of gates, against those of the CPU."""

import math
from functools import partial

import pytest
import torch

from sparse_engine.ops import RK4, Euler
from sparse_engine.ops._dispatch.native import native
from sparse_engine.testing import as_tuple, assert_alike, hub_pattern, random_pattern

# Units; from 257 on, full rows are cut into pieces.
SIZES = [1, 7, 40, 260]


def numbers(dtype, *shape):
    return torch.randn(*shape, dtype=dtype)


def links(rows, sources, dtype):
    """A pattern with full rows, where there is room for them, and values that keep sums small."""
    small = min(rows, sources) < 7
    pattern = random_pattern(rows, sources, rows) if small else hub_pattern(rows, sources)
    return numbers(dtype, pattern.nnz) * (rows / pattern.nnz) ** 0.5, pattern


def ctrnn(hidden, steps, batch, dtype, *, initial, solver=None, unfolds=2, clip=math.inf, f=0):
    """The arguments of the forward operation, and of the backward one as a function."""
    solver = RK4() if solver is None else solver
    values, pattern = links(hidden, hidden, dtype)
    x, dh = numbers(dtype, steps, batch, hidden), numbers(dtype, steps, batch, hidden)
    h0 = numbers(dtype, batch, hidden) if initial else None
    rate = torch.rand(hidden, dtype=dtype) if initial else None
    dt = torch.rand(steps, batch, dtype=dtype)
    given = (x, h0, dt, rate, values, pattern)
    given += ([*solver.nodes], [*solver.weights], unfolds, clip, f)
    return given, lambda h, _: (dh, None, h, *given, True, True, True)


def synapses(rows, sources, dtype):
    """Weights, mu, sigma and erev of a pattern's links, and the pattern."""
    values, pattern = links(rows, sources, dtype)
    erev = torch.randn(pattern.nnz).sign().to(dtype)
    mu, sigma = numbers(dtype, pattern.nnz), 3 + torch.rand(pattern.nnz, dtype=dtype)
    return values.abs(), mu, sigma, erev, pattern


def ltc(hidden, steps, batch, dtype, *, initial, unfolds=3):
    """The same; without an initial state also without capacitance, where 0 / 0 is near."""
    current, dh = numbers(dtype, steps, batch, hidden), numbers(dtype, steps, batch, hidden)
    conductance = 0.5 + torch.rand(steps, batch, hidden, dtype=dtype)
    h0 = numbers(dtype, batch, hidden) if initial else None
    cm = (0.5 if initial else 0) * torch.rand(hidden, dtype=dtype)
    given = (current, conductance, h0, cm, *synapses(hidden, hidden, dtype), unfolds)
    return given, lambda h, _: (dh, None, h, *given)


def conductance(hidden, steps, batch, dtype, *, initial):
    """The same of a layer with 12 sources, or as many as targets, at all steps at once."""
    sources, columns = hidden if initial else 12, steps * batch
    x, *upstream = (numbers(dtype, columns, n) for n in (sources, hidden, hidden))
    given = (x, *synapses(hidden, sources, dtype))
    return given, lambda *_: (*upstream, *given)


def rhn(hidden, steps, batch, dtype, *, initial, fed=1):
    """The same of three levels; without an initial state, the gates are coupled."""
    rows, depth = (3 if initial else 2) * hidden, 3
    weights = [links(rows, hidden, dtype) for _ in range(depth)]
    x, dy = numbers(dtype, steps, fed, batch, rows), numbers(dtype, steps, batch, hidden)
    s0, mask = (numbers(dtype, batch, hidden) if initial else None for _ in range(2))
    bias = numbers(dtype, depth, rows) if initial else None
    values = torch.cat([values for values, _ in weights])
    patterns = [tensor for _, pattern in weights for tensor in pattern]
    return (x, s0, mask, bias, values, patterns, True), lambda y, saved: (
        *(dy, saved, mask, values, patterns, fed),
        *(True, True, True),
    )


def on_lstm(hidden, steps, batch, dtype, *, initial, chunks=None):
    """The same; by default with a chunk of units each, or with a single chunk."""
    chunks = chunks or (hidden if initial else 1)
    rows = 2 * chunks + 4 * hidden
    values, pattern = links(rows, hidden, dtype)
    x, dh = numbers(dtype, steps, batch, rows), numbers(dtype, steps, batch, hidden)
    h0, c0 = (numbers(dtype, batch, hidden) if initial else None for _ in range(2))
    dc = numbers(dtype, batch, hidden) if initial else None
    given = (values, pattern)
    bias = numbers(dtype, rows) if initial else None
    return (x, h0, c0, bias, *given, True), lambda h, _, c, saved: (
        *(dh, dc, h, c, saved, h0, c0),
        *(*given, True, True),
    )


CELLS = {"ctrnn": ctrnn, "ltc": ltc, "conductance": conductance, "rhn": rhn, "on_lstm": on_lstm}
CELLS["rate_rnn"] = partial(ctrnn, f=2)


def run(device, cell, arguments):
    """The results of both operations."""
    forward, backward = arguments
    results = as_tuple(getattr(device, f"{cell}_forward")(*forward))
    return *results, *as_tuple(getattr(device, f"{cell}_backward")(*backward(*results)))


def check(gpu, cell, arguments, terms):
    assert_alike(run(gpu, cell, arguments), run(native, cell, arguments), terms)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("hidden", SIZES)
@pytest.mark.parametrize("initial", [True, False])
def test_as_on_the_cpu(gpu, cell, hidden, initial):
    for steps, batch, dtype in [
        (3, 1, torch.float64),
        (2, 3, torch.float64),
        (1, 10, torch.float64),
        (2, 5, torch.float32),
        (1, 40, torch.float32),
    ]:
        arguments = CELLS[cell](hidden, steps, batch, dtype, initial=initial)
        check(gpu, cell, arguments, 8 * steps * batch * hidden)


@pytest.mark.usefixtures("staging")
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("setting", [("SIMT_COOPERATIVE", "0"), ("SIMT_ORDER", "descending")])
def test_same_bits_by_launches_and_in_any_order_of_threads(simulated, cell, setting, monkeypatch):
    """One launch per phase gives what one cooperative kernel gives, and there is no race."""
    arguments = CELLS[cell](260, 2, 3, torch.float32, initial=True)
    first = run(simulated, cell, arguments)
    monkeypatch.setenv(*setting)
    for one, other in zip(first, run(simulated, cell, arguments), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("cell", ["ctrnn", "rate_rnn", "rhn", "on_lstm"])
@pytest.mark.parametrize("hidden", [1, 40, 260])
def test_staged(gpu, cell, hidden, monkeypatch):
    monkeypatch.setenv("SPARSE_ENGINE_STAGED", "1")
    for steps, batch, dtype in [(2, 1, torch.float64), (1, 10, torch.float64)]:
        arguments = CELLS[cell](hidden, steps, batch, dtype, initial=batch == 1)
        check(gpu, cell, arguments, 8 * steps * batch * hidden)


@pytest.mark.parametrize(("cell", "f"), [("ctrnn", 0), *(("rate_rnn", f) for f in range(4))])
@pytest.mark.parametrize("solver", [Euler(), RK4()])
@pytest.mark.parametrize("clip", [math.inf, 0.4])
def test_any_method_and_activation(gpu, cell, f, solver, clip):
    for unfolds in (1, 3):
        options = {"solver": solver, "unfolds": unfolds, "clip": clip, "f": f}
        arguments = ctrnn(40, 3, 5, torch.float64, initial=True, **options)
        check(gpu, cell, arguments, 5000)


def test_ctrnn_takes_no_more_stages_than_fit(simulated):
    forward, _ = ctrnn(7, 2, 3, torch.float64, initial=True)
    *most, _, _, unfolds, clip, f = forward
    sixteen = [0.0] * 16
    h, _ = simulated.ctrnn_forward(*most, sixteen, sixteen, unfolds, clip, f)
    assert h.isfinite().all()
    with pytest.raises(ValueError, match="expected a solver of at most 16 stages on CUDA devices"):
        simulated.ctrnn_forward(*most, [*sixteen, 0.0], [*sixteen, 0.0], unfolds, clip, f)


def test_ctrnn_skips_the_gradients_that_are_not_wanted(gpu):
    forward, backward = ctrnn(7, 2, 3, torch.float64, initial=True)
    states = native.ctrnn_forward(*forward)
    wanted = gpu.ctrnn_backward(*backward(*states))
    found = gpu.ctrnn_backward(*backward(*states)[:-3], False, False, False)
    assert [len(found[i]) for i in (0, 2, 4)] == [0, 0, 0]
    assert torch.equal(found[1], wanted[1]) and torch.equal(found[3], wanted[3])


def test_conductance_far_from_the_threshold(gpu):
    """Inputs at which the exponential of either sign overflows."""
    (x, *given), backward = conductance(40, 1, 5, torch.float32, initial=True)
    upstream = backward()[:2]
    check(gpu, "conductance", ((1000 * x, *given), lambda *_: (*upstream, 1000 * x, *given)), 5000)


@pytest.mark.parametrize("fed", [0, 3])
def test_rhn_is_fed_at_any_level(gpu, fed):
    check(gpu, "rhn", rhn(40, 3, 5, torch.float64, initial=True, fed=fed), 5000)


def test_rhn_skips_what_is_not_wanted(gpu):
    forward, backward = rhn(7, 2, 3, torch.float64, initial=True)
    y, saved = gpu.rhn_forward(*forward)
    kept_none = gpu.rhn_forward(*forward[:-1], False)
    assert torch.equal(kept_none[0], y) and len(kept_none[1]) == 0
    wanted = gpu.rhn_backward(*backward(y, saved))
    found = gpu.rhn_backward(*backward(y, saved)[:-3], False, False, False)
    assert [len(found[i]) for i in (0, 1, 3)] == [0, 0, 0]
    assert torch.equal(found[2], wanted[2])


@pytest.mark.parametrize("chunks", [4, 36])
def test_on_lstm_of_any_chunks(gpu, chunks):
    """Fewer and more of them than a warp has lanes."""
    check(gpu, "on_lstm", on_lstm(72, 3, 5, torch.float64, initial=True, chunks=chunks), 5000)


def test_on_lstm_skips_what_is_not_wanted(gpu):
    forward, backward = on_lstm(7, 2, 3, torch.float64, initial=True)
    states = gpu.on_lstm_forward(*forward)
    kept_none = gpu.on_lstm_forward(*forward[:-1], False)
    assert [len(kept) for kept in kept_none[2:]] == [0, 0]
    assert all(map(torch.equal, kept_none[:2], states[:2]))
    wanted = gpu.on_lstm_backward(*backward(*states))
    found = gpu.on_lstm_backward(*backward(*states)[:-2], False, False)
    assert [len(found[i]) for i in (0, 4)] == [0, 0]
    assert all(torch.equal(found[i], wanted[i]) for i in (1, 2, 3))


@pytest.mark.usefixtures("staging")
@pytest.mark.parametrize("cell", ["ctrnn", "rate_rnn", "ltc", "rhn", "on_lstm"])
@pytest.mark.parametrize("hidden", [7, 260])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_states_are_set_back(gpu, cell, hidden, share):
    for steps, batch, dtype, initial in [
        (4, 1, torch.float64, True),
        (3, 3, torch.float64, False),
        (3, 37, torch.float32, True),
    ]:
        forward, backward = CELLS[cell](hidden, steps, batch, dtype, initial=initial)
        resets = torch.rand(steps, batch) < share
        arguments = (
            (*forward, resets),
            lambda *results, back=backward, r=resets: (
                *back(*results),
                r,
            ),
        )
        check(gpu, cell, arguments, 8 * steps * batch * hidden)


@pytest.mark.parametrize(("cell", "f"), [("ctrnn", 0), *(("rate_rnn", f) for f in range(4))])
@pytest.mark.parametrize("clip", [math.inf, 0.4])
def test_states_are_set_back_by_any_method_and_activation(gpu, cell, f, clip):
    forward, backward = ctrnn(40, 4, 5, torch.float64, initial=True, unfolds=3, clip=clip, f=f)
    resets = torch.rand(4, 5) < 0.4
    arguments = (*forward, resets), lambda *results: (*backward(*results), resets)
    check(gpu, cell, arguments, 5000)
