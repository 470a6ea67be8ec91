"""Zoneout: units keep their states at random in training, and by expectation in evaluation."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.deploy import quantize
from sparse_engine.nn import CELLS, SparseLSTM


def dense_loop(network, x, keep):
    """An LSTM with a mask of kept units for each state and step, with torch's own cell."""
    cell = nn.LSTMCell(6, 21, dtype=x.dtype)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        own = getattr(network, f"{name}_l0")
        getattr(cell, name).data = (own.to_dense() if name == "weight_hh" else own).detach()
    state, outputs = x.new_zeros(2, x.shape[1], 21), []
    for t, each in enumerate(x):
        new = torch.stack(cell(each, tuple(state)))
        state = keep[t] * state + (1 - keep[t]) * new
        outputs.append(state[0])
    return torch.stack(outputs), state


@pytest.mark.parametrize("training", [False, True])
def test_units_that_are_drawn_keep_their_states_and_evaluation_takes_the_expectation(training):
    network = SparseLSTM(6, 21, density=0.3, zoneout=(0.3, 0.1), dtype=torch.float64)
    x = torch.randn(7, 3, 6, dtype=torch.float64)
    torch.manual_seed(5)
    y, state = network.train(training)(x)
    torch.manual_seed(5)
    keep = torch.tensor([0.3, 0.1]).double()[:, None, None].expand(7, 2, 3, 21)
    if training:
        drawn = [torch.rand(3, 21, dtype=x.dtype) < rate for _ in range(7) for rate in (0.3, 0.1)]
        keep = torch.stack(drawn).reshape(7, 2, 3, 21).to(x.dtype)
    wanted, last = dense_loop(network, x, keep)
    assert_close(y, wanted)
    assert_close(torch.cat(state), last)
    y.square().sum().backward()
    assert network.weight_hh_l0.values.grad.abs().max() > 0


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell(cell):
    network, x = CELLS[cell](6, 21, 2, density=0.3, zoneout=1.0), torch.randn(4, 3, 6)
    assert "zoneout=1.0" in network.extra_repr() and not network(x)[0].any()
    network.zoneout = 0.0
    still = CELLS[cell](6, 21, 2, density=0.3)
    still.load_state_dict(network.state_dict())
    assert torch.equal(network(x)[0], still(x)[0]) and network(x)[0].any()
    network.zoneout = 0.4
    torch.manual_seed(0)
    half = network(x)[0]
    network.checkpoint_every = 3
    torch.manual_seed(0)
    assert_close(network(x)[0], half)
    one, _ = network.eval().step(x[0])
    assert_close(one, network(x[:1])[0][0])


def test_what_it_does_not_go_with():
    with pytest.raises(ValueError, match=r"zoneout in \[0, 1\], found 2.0"):
        SparseLSTM(6, 21, density=0.3, zoneout=2.0)
    with pytest.raises(ValueError, match="found 1 numbers"):
        SparseLSTM(6, 21, density=0.3, zoneout=(0.1,))
    network = SparseLSTM(6, 21, density=0.3, zoneout=0.1)
    with pytest.raises(ValueError, match=r"expected no zoneout to convert, found 0\.1"):
        network.to_dense()
    assert "has zoneout" in str(quantize(nn.Sequential(network)).report)
