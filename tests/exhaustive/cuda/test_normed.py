"""The time loops with layer normalisation of the GPU against those of the CPU."""

import pytest
import torch
from torch.testing import assert_close

from sparse_engine.ops._dispatch.native import native
from sparse_engine.testing import assert_alike, batch_sizes_of, hub_pattern, random_pattern

GATES = {"rnn": 1, "lstm": 4}
# From long to short; some steps leave whole panels without a running sequence.
LENGTHS = {
    "equal": [2] * 5,
    "one left": [4] + [1] * 11,
    "panels end": [5] * 2 + [3] * 16 + [1] * 40,
}
pytestmark = pytest.mark.parametrize("cell", GATES)


def problem(cell, hidden, steps, batch, dtype, *, initial=True, lengths=None, scaled=True):
    """The arguments of the forward operation, and of the backward one as a function."""

    def numbers(*shape):
        return torch.randn(*shape, dtype=dtype)

    rows = GATES[cell] * hidden
    few = hidden < 7
    pattern = random_pattern(rows, hidden, rows) if few else hub_pattern(rows, hidden)
    values = numbers(pattern.nnz) * (hidden / pattern.nnz) ** 0.5
    outer, sizes = (steps, batch), None
    if lengths is not None:
        outer, batch, sizes = (sum(lengths),), len(lengths), batch_sizes_of(lengths)
    x, dh, dc = numbers(*outer, rows), numbers(*outer, hidden), numbers(batch, hidden)
    h0, c0 = (numbers(batch, hidden) if initial else None for _ in range(2))
    norm = [numbers(rows) if scaled else None for _ in range(2)]
    c_norm = [numbers(hidden) if scaled else None for _ in range(2)]
    links = (values, pattern, sizes)
    if cell == "rnn":
        forward = (x, h0, *norm, *links, 0.1, 0, True)
        return forward, lambda *states: (dh, *states, h0, norm[0], *links, 0, True, True)
    clip = 1.1 if scaled else None
    forward = (x, h0, c0, *norm, *c_norm, *links, 0.1, 0.2, clip, True)
    return forward, lambda h, _, *saved: (
        *(dh, dc, h, *saved, x, h0, c0),
        *(*norm, *c_norm, *links, clip, True, True),
    )


def run(on, cell, forward, backward):
    """Return the results of both operations."""
    states = getattr(on, f"normed_{cell}_forward")(*forward)
    return *states, *getattr(on, f"normed_{cell}_backward")(*backward(*states))


def check_both_ways(gpu, cell, hidden, *sizes, **options):
    arguments = problem(cell, hidden, *sizes, **options)
    terms = arguments[0][0].numel() // GATES[cell] + hidden
    assert_alike(run(gpu, cell, *arguments), run(native, cell, *arguments), terms)


@pytest.mark.usefixtures("staging")
@pytest.mark.parametrize("hidden", [1, 7, 40, 260])
@pytest.mark.parametrize("initial", [True, False])
def test_as_on_the_cpu(gpu, cell, hidden, initial):
    for steps, batch, dtype in [
        (3, 1, torch.float64),
        (2, 3, torch.float64),
        (1, 35, torch.float64),
        (3, 5, torch.float32),
    ]:
        check_both_ways(gpu, cell, hidden, steps, batch, dtype, initial=initial, scaled=initial)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_sequences_of_different_lengths(gpu, cell, lengths):
    for initial in (True, False):
        check_both_ways(gpu, cell, 7, None, None, torch.float64, initial=initial, lengths=lengths)


def test_a_mean_far_from_zero_costs_no_digits(gpu, cell):
    """The variance is not a small difference of large numbers."""
    hidden, rows = 40, 40 * GATES[cell]
    links = random_pattern(rows, hidden, rows * hidden)
    values = (1024 + torch.randint(-8, 9, (rows, 1))).float().repeat(1, hidden).flatten() / hidden
    x, *_ = problem(cell, hidden, 1, 20, torch.float32)[0]
    states = [torch.ones(20, hidden)] + [torch.zeros(20, hidden)] * (cell == "lstm")
    options = (0.1, 0) if cell == "rnn" else (0.1, 0.2, None)
    found, exact = [], []
    for results, on, dtype in ((found, gpu, torch.float32), (exact, native, torch.float64)):
        tensors = [each.to(dtype) for each in (x, *states)]
        norms = [None] * 2 * len(states)
        forward = (*tensors, *norms, values.to(dtype), links, None, *options, False)
        results.append(getattr(on, f"normed_{cell}_forward")(*forward)[0].double())
    assert_close(found, exact, rtol=1e-4, atol=1e-4)


def test_what_is_not_wanted_is_empty(gpu, cell):
    forward, backward = problem(cell, 7, 2, 3, torch.float64)
    operations = [getattr(gpu, f"normed_{cell}_{way}") for way in ("forward", "backward")]
    states = operations[0](*forward)
    *wanted, saved, moments = operations[0](*forward[:-1], False)
    assert saved.numel() == moments.numel() == 0
    assert_close(wanted, [*states[:-2]])
    gradients = operations[1](*backward(*states))
    dx, *others, dvalues = operations[1](*backward(*states)[:-2], False, False)
    assert dx.numel() == dvalues.numel() == 0
    assert_close(others, [*gradients[1:-1]])


@pytest.mark.parametrize("lengths", [None, [2, 1, 1]])
@pytest.mark.parametrize(
    "setting", [("SIMT_COOPERATIVE", "0"), ("SIMT_ORDER", "descending")], ids=["launches", "order"]
)
def test_same_bits_by_launches_and_in_any_order_of_threads(
    simulated, cell, lengths, setting, monkeypatch
):
    arguments = problem(cell, 260, 2, 3, torch.float32, lengths=lengths)
    found = run(simulated, cell, *arguments)
    monkeypatch.setenv(*setting)
    assert all(map(torch.equal, found, run(simulated, cell, *arguments)))
