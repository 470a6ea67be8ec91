"""The time loops of the GPU against those of the CPU."""

import pytest
import torch
from torch.testing import assert_close

from sparse_engine.ops._native import native
from sparse_engine.testing import hub_pattern, random_pattern, tolerance

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
# Units; from 257 on, full rows are cut into pieces.
SIZES = [1, 7, 40, 260]


def numbers(dtype, *shape):
    return torch.randn(*shape, dtype=dtype)


def problem(cell, hidden, steps, batch, dtype, *, initial):
    """The arguments of the forward operation, and of the backward one as a function."""
    gates = GATES[cell]
    small = hidden < 7
    pattern = (
        random_pattern(gates * hidden, hidden, gates * hidden)
        if small
        else hub_pattern(gates * hidden, hidden)
    )
    values = numbers(dtype, pattern.nnz) * (hidden / pattern.nnz) ** 0.5
    bias, x = numbers(dtype, gates * hidden), numbers(dtype, steps, batch, gates * hidden)
    h0, c0 = (numbers(dtype, batch, hidden) if initial else None for _ in range(2))
    dh, dc = numbers(dtype, steps, batch, hidden), numbers(dtype, batch, hidden)
    links = (values, *pattern)
    if cell == "lstm":
        forward = (x, h0, c0, bias, *links, True)
        return forward, lambda h, c_n, c, kept: (dh, dc, h, c, kept, h0, c0, *links, True, True)
    if cell == "gru":
        forward = (x, h0, bias, *links, True)
        return forward, lambda h, kept: (dh, h, kept, h0, *links, True, True)
    forward = (x, None, h0, bias, *links, 0)
    return forward, lambda h: (dh, h, None, h0, *links, 0, True, True)


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
        check(getattr(gpu, f"{cell}_forward")(*forward), states, terms)
        gradients = getattr(native, f"{cell}_backward")(*backward(*states))
        check(getattr(gpu, f"{cell}_backward")(*backward(*states)), gradients, terms)


@pytest.mark.parametrize("inputs", [1, 6, 70])
def test_dense_input_of_the_elman_layer(gpu, inputs):
    for batch, dtype in [(1, torch.float64), (9, torch.float32)]:
        steps, hidden = 2, 40
        pattern = hub_pattern(hidden, hidden)
        x, w_input = numbers(dtype, steps, batch, inputs), numbers(dtype, hidden, inputs)
        values = numbers(dtype, pattern.nnz) / 8
        forward = (x, w_input / inputs**0.5, None, None, values, *pattern, 1)
        h = native.rnn_forward(*forward)
        check(gpu.rnn_forward(*forward), h, hidden + inputs)
        dh = numbers(dtype, steps, batch, hidden)
        backward = (dh, h, x, None, values, *pattern, 1, False, False)
        check(gpu.rnn_backward(*backward), native.rnn_backward(*backward), hidden * batch)


def test_what_is_not_wanted_is_empty(gpu):
    forward, backward = problem("lstm", 7, 2, 3, torch.float64, initial=True)
    h, c_n, c, kept = gpu.lstm_forward(*forward[:-1], False)
    assert c.shape[0] == kept.shape[0] == 0
    check((h, c_n), native.lstm_forward(*forward)[:2], 20)
    states = native.lstm_forward(*forward)
    arguments = (*backward(*states)[:-2], False, False)
    check(gpu.lstm_backward(*arguments), native.lstm_backward(*arguments), 60)


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
