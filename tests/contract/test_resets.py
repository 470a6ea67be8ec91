"""Sequences of several episodes: what is special about ``resets``, the mask of where they begin.

That they equal the equations is in test_equations.py.
"""

import pytest
import torch
from contract.networks import (
    FORMS,
    PACKABLE,
    TIMED,
    assert_same,
    begins,
    cell_of,
    make,
    outcome,
    run,
    weights_of,
)
from pairwise import pairwise
from testing import leaves_of
from torch import nn
from torch.testing import assert_close

from sparse_engine.deploy.quantized import QuantizedGRU, QuantizedLSTM, QuantizedRNN
from sparse_engine.errors import InputError
from sparse_engine.nn import CELLS, Cell, Recurrent

EVERY = pytest.mark.parametrize("form", FORMS)
#: Those that go step by step in their own ways.
STACKS = {
    "both ways": {"num_layers": 2, "bidirectional": True},
    "segments": {"num_layers": 2, "checkpoint_every": 3},
}
QUANTIZED = {"rnn": QuantizedRNN, "lstm": QuantizedLSTM, "gru": QuantizedGRU}


@EVERY
def test_floats_say_the_same(form):
    network = make(form, batch_first=True)
    x, *states = leaves_of(network, 7, 5)
    resets = begins(x)
    wanted = run(network, x, *states, resets=resets)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        found = run(network, x, *states, resets=resets.to(dtype))
        assert all(map(torch.equal, found, wanted))


def test_noise_is_drawn_as_without_resets():
    network = make("rate_rnn, softplus", sigma=0.2)
    x, h0 = leaves_of(network, 6, 3)
    resets = torch.zeros(6, 3, dtype=torch.bool)
    resets[4] = True
    torch.manual_seed(1)
    plain, _ = network(x, h0)
    torch.manual_seed(1)
    y, _ = network(x, h0, resets=resets)
    assert torch.equal(y[:4], plain[:4]) and not torch.equal(y[4], plain[4])
    torch.manual_seed(1)
    network(x[:4], h0)
    own, _ = network(x[4:])
    assert_close(y[4:], own)


@EVERY
def test_each_sample_of_vmap_has_its_own(form):
    network = make(form)
    x, *_ = leaves_of(network, 4, 3)
    samples = torch.stack([begins(x), begins(x)])
    found = torch.vmap(lambda resets: network(x, resets=resets)[0])(samples)
    for own, resets in zip(found, samples, strict=True):
        assert_close(own, network(x, resets=resets)[0])


@pairwise(cell=[*QUANTIZED], int8=[True, False], batch=[1, 3, 20], initial=[True, False])
def test_quantized_networks(cell, int8, batch, initial):
    network = make(cell, torch.float32, num_layers=2, bidirectional=True)
    quantized = QUANTIZED[cell].from_sparse(network, int8=int8)
    leaves = leaves_of(network, 7, batch, initial=initial)
    resets = begins(leaves[0])
    found = run(quantized, *leaves, resets=resets)
    wanted = run(quantized.to_sparse(), *leaves, resets=resets)
    assert_close(found, [each.detach() for each in wanted], rtol=1e-5, atol=1e-5)


@EVERY
def test_what_does_not_fit(form):
    network = make(form, batch_first=True)
    x, step = torch.randn(3, 4, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)

    def refused(resets, message, error=InputError):
        with pytest.raises(error, match=message):
            network(x, resets=resets)

    for shape, found in (((4, 3), "4, 3"), ((3,), "3"), ((3, 4, 1), "3, 4, 1")):
        refused(torch.zeros(shape), rf"resets of shape \[3, 4\], found \[{found}\]")
    refused(torch.zeros(3, 4, dtype=torch.int64), "bool or a floating dtype, found int64")
    refused(torch.zeros(3, 4, device="meta"), "expected resets on cpu, found them on meta")
    refused([True], "expected resets to be a tensor, found list", TypeError)
    with pytest.raises(InputError, match=r"resets of shape \[3\], found \[4\]"):
        network.step(step, resets=torch.zeros(4))
    with pytest.raises(InputError, match=r"resets of shape \[\], found \[1\]"):
        network.step(step[0], resets=torch.zeros(1))


@pytest.mark.parametrize("form", PACKABLE)
def test_not_beside_sequences_of_different_lengths(form):
    network, x = make(form), torch.randn(4, 3, 6, dtype=torch.float64)
    message = "sequences of one length beside resets"
    with pytest.raises(InputError, match=message):
        network(x, lengths=[4, 2, 1], resets=begins(x))
    with pytest.raises(InputError, match=message):
        packed = nn.utils.rnn.pack_padded_sequence(x, [4, 2, 1])
        network(packed, resets=begins(x))


def by_steps(monkeypatch, network):
    monkeypatch.setattr(type(network.cell), "goes_by_steps", lambda *_: True)


@pairwise(form=[*FORMS], stack=STACKS)
def test_step_by_step_gives_the_same(form, stack, monkeypatch):
    """The equations of one step, and the kernel; factors are captured, too."""
    network = make(form, **stack)
    leaves = leaves_of(network, 7, 5)
    given = {"resets": begins(leaves[0])}
    if form in TIMED:
        given["timespans"] = torch.rand(7, 5, dtype=torch.float64)
    captures = CELLS[cell_of(form)].cell.gradient_growth

    def found():
        for weight in weights_of(network).values():
            weight.captured = [[]] if captures else None
        values = outcome(network, leaves, **given)
        for name, weight in weights_of(network).items() if captures else []:
            values[f"{name}.dense"] = sum(dy.T @ x for dy, x in weight.captured.pop())
        return values

    wanted = found()
    by_steps(monkeypatch, network)
    assert_same(found(), wanted, 1e-10)


def test_noise_step_by_step_is_the_same(monkeypatch):
    network = make("rate_rnn, softplus", sigma=0.2)
    leaves = leaves_of(network, 6, 3)
    resets = begins(leaves[0])
    torch.manual_seed(1)
    wanted, _ = network(*leaves, resets=resets)
    by_steps(monkeypatch, network)
    torch.manual_seed(1)
    assert_close(network(*leaves, resets=resets)[0], wanted)


def test_a_cell_of_ones_own_takes_them_without_knowing():
    class Sum(Cell):
        def step(self, v, product, state):
            return (state[0] + v,)

    class Total(Recurrent):
        cell_type = Sum

    network = Total(2, 2, 2, density=1.0, bias=False, dtype=torch.float64)
    with torch.no_grad():
        network.weight_ih_l0.copy_(torch.eye(2))
        network.weight_ih_l1.values.copy_(torch.eye(2).flatten())
    x = torch.randn(5, 3, 2, dtype=torch.float64)
    resets = torch.zeros(5, 3, dtype=torch.bool)
    resets[2, 1] = True
    y, h_n = network(x, resets=resets)
    parts = torch.cat([x[:2, 1].cumsum(0).cumsum(0), x[2:, 1].cumsum(0).cumsum(0)])
    assert_close(y[:, 1], parts)
    assert_close(y[:, [0, 2]], x[:, [0, 2]].cumsum(0).cumsum(0))
    assert_close(h_n[-1], y[-1])
