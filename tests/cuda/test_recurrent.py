"""The time loops of the GPU against those of the CPU."""

import math

import pytest
import torch
from torch.testing import assert_close

from sparse_engine.ops._native import native
from sparse_engine.testing import hub_pattern, random_pattern, tolerance

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
# Units; from 257 on, full rows are cut into pieces.
SIZES = [1, 7, 40, 260]
# Its values, and its pattern.
NO_PROJECTION = (None,) * 6


def numbers(dtype, *shape):
    return torch.randn(*shape, dtype=dtype)


def problem(cell, hidden, steps, batch, dtype, *, initial, inputs=None):
    """The arguments of the forward operation, and of the backward one as a function.

    With ``inputs``, dense input weights are among them.
    """
    gates = GATES[cell]
    small = hidden < 7
    pattern = (
        random_pattern(gates * hidden, hidden, gates * hidden)
        if small
        else hub_pattern(gates * hidden, hidden)
    )
    values = numbers(dtype, pattern.nnz) * (hidden / pattern.nnz) ** 0.5
    bias, b_input = numbers(dtype, gates * hidden), numbers(dtype, gates * hidden)
    x = numbers(dtype, steps, batch, inputs or gates * hidden)
    w_input = numbers(dtype, gates * hidden, inputs) / inputs**0.5 if inputs else None
    source = x if inputs else None
    h0, c0 = (numbers(dtype, batch, hidden) if initial else None for _ in range(2))
    dh, dc = numbers(dtype, steps, batch, hidden), numbers(dtype, batch, hidden)
    links = (values, *pattern)
    wants = (True, True)
    if cell == "lstm":
        links = (values, *NO_PROJECTION, *pattern)
        forward = (x, w_input, h0, c0, bias, *links, None, math.inf, True)
        return forward, lambda h, _, kept: (
            *(dh, dc, h, kept, source, h0, c0),
            *(*links, None, math.inf, *wants),
        )
    if cell == "gru":
        forward = (x, w_input, b_input, h0, bias, *links, None, True)
        return forward, lambda h, kept: (dh, h, kept, source, h0, *links, None, *wants)
    forward = (x, w_input, h0, bias, *links, None, 0)
    return forward, lambda h: (dh, h, source, h0, *links, None, 0, *wants)


def as_tuple(result):
    return result if isinstance(result, tuple | list) else (result,)


def check(found, wanted, terms):
    for one, other in zip(as_tuple(found), as_tuple(wanted), strict=True):
        size = max(1.0, float(other.abs().max())) if other.numel() else 1.0
        assert_close(one / size, other / size, **tolerance(one.dtype, terms))


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("hidden", SIZES)
@pytest.mark.parametrize("initial", [True, False])
def test_as_on_the_cpu(gpu, cell, hidden, initial):
    for steps, batch, dtype in [
        (3, 1, torch.float64),
        (2, 3, torch.float64),
        (1, 10, torch.float64),
        (3, 5, torch.float32),
    ]:
        forward, backward = problem(cell, hidden, steps, batch, dtype, initial=initial)
        states = as_tuple(getattr(native, f"{cell}_forward")(*forward))
        terms = steps * batch * hidden
        found = as_tuple(getattr(gpu, f"{cell}_forward")(*forward))
        # The last of a cell with gates is what it saves, which each device lays out as it likes.
        results = len(states) - (cell != "rnn")
        check(found[:results], states[:results], terms)
        gradients = getattr(native, f"{cell}_backward")(*backward(*states))
        check(getattr(gpu, f"{cell}_backward")(*backward(*found)), gradients, terms)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("inputs", [1, 6, 70])
def test_dense_input(gpu, cell, inputs):
    for batch, dtype in [(1, torch.float64), (9, torch.float32)]:
        forward, backward = problem(cell, 40, 2, batch, dtype, initial=True, inputs=inputs)
        states = as_tuple(getattr(native, f"{cell}_forward")(*forward))
        found = as_tuple(getattr(gpu, f"{cell}_forward")(*forward))
        check(found[0], states[0], 40 + inputs)
        gradients = getattr(native, f"{cell}_backward")(*backward(*states))
        check(getattr(gpu, f"{cell}_backward")(*backward(*found)), gradients, 80 * batch)


def test_what_is_not_wanted_is_empty(gpu):
    forward, backward = problem("lstm", 7, 2, 3, torch.float64, initial=True)
    h, c_n, kept = gpu.lstm_forward(*forward[:-1], False)
    assert kept.shape[0] == 0
    states = native.lstm_forward(*forward)
    check((h, c_n), states[:2], 20)
    wanted = native.lstm_backward(*backward(*states)[:-2], False, False)
    check(gpu.lstm_backward(*backward(*gpu.lstm_forward(*forward))[:-2], False, False), wanted, 60)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("setting", [("SIMT_COOPERATIVE", "0"), ("SIMT_ORDER", "descending")])
def test_same_bits_by_launches_and_in_any_order_of_threads(simulated, cell, setting, monkeypatch):
    """One launch per phase gives what one cooperative kernel gives, and there is no race."""
    forward, backward = problem(cell, 260, 2, 3, torch.float32, initial=True)
    states = as_tuple(getattr(simulated, f"{cell}_forward")(*forward))
    gradients = as_tuple(getattr(simulated, f"{cell}_backward")(*backward(*states)))
    monkeypatch.setenv(*setting)
    again = as_tuple(getattr(simulated, f"{cell}_forward")(*forward))
    gradients_again = as_tuple(getattr(simulated, f"{cell}_backward")(*backward(*states)))
    for one, other in zip((*states, *gradients), (*again, *gradients_again), strict=True):
        assert torch.equal(one, other)
