"""Contract of the stack of layers with a cell, shown by a cell that only records."""

import pytest
import torch
from torch import nn

from sparse_engine.nn import CELLS, Option, Recurrent


def check_scale(name, value):
    if value <= 0:
        raise ValueError(f"expected {name} > 0, found {value}")


class Recorder(Recurrent):
    """``h_t = h_{t-1} + scale * elapsed_t * mask * x_t``, and a second state that counts steps."""

    options = {**Recurrent.options, "scale": Option(check_scale)}  # noqa: RUF012
    states = ("h0", "n0")
    step_inputs = ("elapsed",)

    def __init__(self, size, num_layers=1, *, scale=1.0, **options):
        super().__init__(size, size, num_layers, scale=scale, **options)
        for layer, _ in self.layers():
            setattr(self, f"weight_{layer}", nn.Parameter(torch.ones(size)))
        self.calls = []

    def constants(self, layer, x):
        return {"mask": nn.functional.dropout(x.new_ones(x.shape[1:]), 0.5, self.training)}

    def forward(self, input, hx=None, *, elapsed):
        y, *final = self.run(input, *self.states_of(hx), elapsed=elapsed)
        return y, tuple(final)

    def run_layer(self, layer, x, state, *, elapsed, mask):
        self.calls.append((layer, elapsed, mask))
        first, count = (x.new_zeros(x.shape[1:]) if each is None else each for each in state)
        moves = self.scale * elapsed[..., None] * mask * x * getattr(self, f"weight_{layer}")
        y = first + moves.cumsum(0)
        return y, y[-1], count + x.shape[0]


@pytest.mark.parametrize("every", [None, 3])
def test_step_inputs_are_cut_and_reversed_and_constants_are_made_once(every):
    network = Recorder(2, bidirectional=True, checkpoint_every=every)
    elapsed = torch.arange(7.0)[:, None].expand(7, 3)
    _, (_, count) = network(torch.randn(7, 3, 2), elapsed=elapsed)
    assert torch.equal(count, torch.full((2, 3, 2), 7.0))
    for layer, expected in {"l0": elapsed, "l0_reverse": elapsed.flip(0)}.items():
        given = [(part, mask) for name, part, mask in network.calls if name == layer]
        assert len(given) == (1 if every is None else 3)
        assert torch.equal(torch.cat([part for part, _ in given]), expected)
        assert len({id(mask) for _, mask in given}) == 1


def test_segments_have_the_same_gradients():
    def gradients(every):
        torch.manual_seed(0)
        network = Recorder(2, bidirectional=True, checkpoint_every=every)
        x = torch.randn(7, 3, 2, requires_grad=True)
        elapsed = torch.rand(7, 3, requires_grad=True)
        network(x, elapsed=elapsed)[0].square().sum().backward()
        return x.grad, elapsed.grad, network.weight_l0_reverse.grad

    for own, other in zip(gradients(3), gradients(None), strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("layout", ["batch first", "single"])
def test_step_inputs_are_laid_out_as_the_input(layout):
    network = Recorder(2, batch_first=layout == "batch first").eval()
    x, elapsed = torch.randn(7, 3, 2), torch.rand(7, 3)
    y, _ = Recorder(2).eval()(x, elapsed=elapsed)
    if layout == "single":
        assert torch.equal(network(x[:, 0], elapsed=elapsed[:, 0])[0], y[:, 0])
    else:
        own, _ = network(x.transpose(0, 1), elapsed=elapsed.T)
        assert torch.equal(own.transpose(0, 1), y)


def test_an_option_of_a_cell_is_checked_kept_and_shown():
    assert "scale=2.0" in Recorder(2, scale=2.0).extra_repr()
    with pytest.raises(ValueError, match="expected scale > 0, found 0"):
        Recorder(2, scale=0)
    with pytest.raises(TypeError, match="expected arguments of Recorder, found scales"):
        Recorder(2, scales=1.0)


@pytest.mark.parametrize("name", CELLS)
def test_states_are_what_a_cell_takes_and_returns(name):
    network = CELLS[name](3, 7, density=0.5)
    final = network(torch.randn(4, 2, 3))[1]
    final = final if isinstance(final, tuple) else (final,)
    assert len(final) == len(network.states)
    assert not {*network.states} & {*network.step_inputs}
    with pytest.raises(TypeError, match=network.states[0]):
        network(torch.randn(4, 2, 3), (1, 2, 3))
