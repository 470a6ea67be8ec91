"""The time loops of the GPU against those of the CPU."""

import math

import pytest
import torch

from sparse_engine.ops._dispatch.native import native
from sparse_engine.testing import (
    as_tuple,
    assert_alike,
    batch_sizes_of,
    hub_pattern,
    random_pattern,
)

GATES = {"rnn": 1, "lstm": 4, "gru": 3, "mgu": 2}
# Units; from 257 on, full rows are cut into pieces.
SIZES = [1, 7, 40, 260]
# From long to short; some steps leave whole panels without a running sequence.
LENGTHS = {"one": [3], "equal": [2] * 5, "one left": [4] + [1] * 11}
LENGTHS |= {"panels end": [5] * 2 + [4] * 9 + [3] * 16 + [1] * 40, "all differ": [*range(9, 0, -1)]}


def numbers(dtype, *shape):
    return torch.randn(*shape, dtype=dtype)


def problem(
    cell,
    hidden,
    steps,
    batch,
    dtype,
    *,
    initial,
    inputs=None,
    lengths=None,
    outputs=None,
    clip=math.inf,
):
    """The arguments of the forward operation, and of the backward one as a function.

    With ``inputs``, dense input weights are among them; with ``outputs``, a projection to so many.
    With ``lengths``, there are so many sequences of so many steps.
    """
    gates, size = GATES[cell], outputs or hidden
    pattern = pattern_of_size(gates * hidden, size)
    values = numbers(dtype, pattern.nnz) * (hidden / pattern.nnz) ** 0.5
    bias = numbers(dtype, gates * hidden)
    b_input = numbers(dtype, gates * hidden) if inputs else None
    outer, sizes = (steps, batch), None
    if lengths is not None:
        sizes = batch_sizes_of(lengths)
        outer, batch = (sum(lengths),), len(lengths)
    x = numbers(dtype, *outer, inputs or gates * hidden)
    w_input = numbers(dtype, gates * hidden, inputs) / inputs**0.5 if inputs else None
    source = x if inputs else None
    h0, c0 = (numbers(dtype, batch, n) if initial else None for n in (size, hidden))
    dh, dc = numbers(dtype, *outer, size), numbers(dtype, batch, hidden)
    if cell == "rnn":
        links = (values, pattern, sizes, 0)
        forward = (x, w_input, h0, bias, *links)
        return forward, lambda h: (dh, h, source, h0, *links, True, True)
    projected = pattern_of_size(outputs, hidden) if outputs else ()
    p_values = numbers(dtype, projected.nnz) if outputs else None
    if cell != "lstm":
        c0 = dc = clip = None
    links = (values, [*pattern, *projected], p_values, sizes, clip)
    forward = (x, w_input, b_input, h0, c0, bias, *links, True)
    return forward, lambda h, _, kept: (
        *(dh, dc, h, kept, source, h0, c0),
        *(*links, True, True, True),
    )


def pattern_of_size(rows, cols):
    """Awkward where it is large enough for that."""
    return random_pattern(rows, cols, max(rows, cols)) if cols < 7 else hub_pattern(rows, cols)


def check(found, wanted, terms):
    assert_alike(as_tuple(found), as_tuple(wanted), terms)


def check_both_ways(gpu, cell, *sizes, resets=None, **options):
    """The forward operation, and the backward one on what each device saved."""
    forward, backward = problem(cell, *sizes, **options)
    states = as_tuple(getattr(native, f"{cell}_forward")(*forward, resets))
    found = as_tuple(getattr(gpu, f"{cell}_forward")(*forward, resets))
    terms = forward[0].numel() // GATES[cell] + sizes[0]
    check(found, states, terms)
    gradients = getattr(native, f"{cell}_backward")(*backward(*states), resets)
    check(getattr(gpu, f"{cell}_backward")(*backward(*found), resets), gradients, terms)


@pytest.mark.usefixtures("staging")
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
        check_both_ways(gpu, cell, hidden, steps, batch, dtype, initial=initial)


@pytest.mark.parametrize("cell", GATES)
def test_dense_weights_are_refused(gpu, cell):
    """PyTorch multiplies by them."""
    forward, backward = problem(cell, 7, 2, 3, torch.float64, initial=True, inputs=4)
    with pytest.raises(ValueError, match="a product with dense weights on a CUDA device, found w"):
        getattr(gpu, f"{cell}_forward")(*forward)
    states = as_tuple(getattr(native, f"{cell}_forward")(*forward))
    with pytest.raises(ValueError, match="with dense weights on a CUDA device, found x beside it"):
        getattr(gpu, f"{cell}_backward")(*backward(*states))


@pytest.mark.usefixtures("staging")
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_sequences_of_different_lengths(gpu, cell, lengths):
    for initial, dtype in [(True, torch.float64), (False, torch.float32)]:
        options = {"initial": initial, "lengths": lengths}
        check_both_ways(gpu, cell, 7, None, None, dtype, **options)


@pytest.mark.parametrize("cell", GATES)
def test_more_steps_than_a_launch_takes_along(gpu, cell):
    lengths = [131, 130, 127, 2]
    check_both_ways(gpu, cell, 3, None, None, torch.float64, initial=True, lengths=lengths)


@pytest.mark.usefixtures("staging")
@pytest.mark.parametrize(("hidden", "outputs"), [(1, 1), (7, 3), (40, 13), (12, 260), (260, 12)])
@pytest.mark.parametrize("lengths", [None, LENGTHS["one left"]])
def test_projections_and_clips(gpu, hidden, outputs, lengths):
    for initial, clip, dtype in [(True, 0.4, torch.float64), (False, math.inf, torch.float32)]:
        options = {"initial": initial, "clip": clip, "outputs": outputs, "lengths": lengths}
        check_both_ways(gpu, "lstm", hidden, 2, 5, dtype, **options)


def test_clips_without_a_projection(gpu):
    for clip in (0.0, 0.3):
        check_both_ways(gpu, "lstm", 40, 3, 5, torch.float64, initial=True, clip=clip)


@pytest.mark.usefixtures("staging")
def test_no_links_at_all(gpu):
    nothing, projection = random_pattern(28, 3, 0), random_pattern(3, 7, 0)
    none = torch.empty(0, dtype=torch.float64)
    x = torch.randn(2, 4, 28, dtype=torch.float64)
    forward = (x, *(None,) * 5, none, [*nothing, *projection], none, None, math.inf, True)
    h, c_n, _ = gpu.lstm_forward(*forward)
    check((h, c_n), native.lstm_forward(*forward)[:2], 1)


def test_what_is_not_wanted_is_empty(gpu):
    forward, backward = problem("lstm", 7, 2, 3, torch.float64, initial=True)
    h, c_n, kept = gpu.lstm_forward(*forward[:-1], False)
    assert kept.shape[0] == 0
    states = native.lstm_forward(*forward)
    check((h, c_n), states[:2], 20)
    wants = (False, False, False)
    wanted = native.lstm_backward(*backward(*states)[:-3], *wants)
    check(gpu.lstm_backward(*backward(*gpu.lstm_forward(*forward))[:-3], *wants), wanted, 60)


@pytest.mark.usefixtures("staging")
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("lengths", [None, [2, 1, 1]])
@pytest.mark.parametrize(
    "setting",
    [("SIMT_COOPERATIVE", "0"), ("SIMT_COOPERATIVE", "busy"), ("SIMT_ORDER", "descending")],
)
def test_same_bits_by_launches_and_in_any_order_of_threads(
    simulated, cell, lengths, setting, monkeypatch
):
    """One launch per phase gives what one cooperative kernel gives, and there is no race."""
    options = {"lengths": lengths, "outputs": 30 if cell == "lstm" and lengths else None}
    forward, backward = problem(cell, 260, 2, 3, torch.float32, initial=True, **options)
    states = as_tuple(getattr(simulated, f"{cell}_forward")(*forward))
    gradients = as_tuple(getattr(simulated, f"{cell}_backward")(*backward(*states)))
    monkeypatch.setenv(*setting)
    again = as_tuple(getattr(simulated, f"{cell}_forward")(*forward))
    gradients_again = as_tuple(getattr(simulated, f"{cell}_backward")(*backward(*states)))
    for one, other in zip((*states, *gradients), (*again, *gradients_again), strict=True):
        assert torch.equal(one, other)


@pytest.mark.usefixtures("staging")
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("hidden", [7, 260])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_states_are_set_back(gpu, cell, hidden, share):
    for steps, batch, dtype, initial in [
        (4, 1, torch.float64, True),
        (3, 3, torch.float64, True),
        (3, 10, torch.float64, False),
        (3, 37, torch.float32, True),
    ]:
        resets = torch.rand(steps, batch) < share
        check_both_ways(gpu, cell, hidden, steps, batch, dtype, initial=initial, resets=resets)
        if cell == "lstm":
            options = {"initial": initial, "outputs": 5, "clip": 0.4, "resets": resets}
            check_both_ways(gpu, cell, hidden, steps, batch, dtype, **options)


@pytest.mark.parametrize("cell", GATES)
def test_states_are_set_back_in_any_order_of_threads(simulated, cell, monkeypatch):
    forward, backward = problem(cell, 260, 3, 5, torch.float32, initial=True)
    resets = torch.rand(3, 5) < 0.4
    states = as_tuple(getattr(simulated, f"{cell}_forward")(*forward, resets))
    gradients = as_tuple(getattr(simulated, f"{cell}_backward")(*backward(*states), resets))
    monkeypatch.setenv("SIMT_ORDER", "descending")
    again = as_tuple(getattr(simulated, f"{cell}_forward")(*forward, resets))
    gradients_again = as_tuple(getattr(simulated, f"{cell}_backward")(*backward(*states), resets))
    assert all(map(torch.equal, (*states, *gradients), (*again, *gradients_again)))
