"""Steps of a stream, and training that keeps the state now and then only."""

import pytest
import torch
from torch.func import functional_call
from torch.testing import assert_close

from sparse_engine.nn import CELLS, SparseGRU, SparseLSTM

NETWORKS = pytest.mark.parametrize(
    "kind", [entry.network for entry in CELLS.values() if entry.packed]
)


def make(kind, **options):
    generator = torch.Generator().manual_seed(1)
    options = {"density": 0.3, "dtype": torch.float64, "generator": generator} | options
    return kind(6, 21, 2, **options)


def states_of(state):
    return state if isinstance(state, tuple) else (state,)


@NETWORKS
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("batch", [3, None])
def test_steps_are_a_sequence(kind, batch_first, batch):
    network = make(kind, batch_first=batch_first)
    x = torch.randn(7, *(() if batch is None else (batch,)), 6, dtype=torch.float64)
    state, outputs = None, []
    for step in x:
        y, state = network.step(step, state)
        outputs.append(y)
    time = 1 if batch_first and batch else 0
    expected, last = network(x.transpose(0, 1) if time else x)
    assert_close(torch.stack(outputs, time), expected, rtol=1e-13, atol=1e-13)
    for own, other in zip(states_of(state), states_of(last), strict=True):
        assert_close(own, other, rtol=1e-13, atol=1e-13)


@NETWORKS
def test_a_bidirectional_network_cannot_step(kind):
    with pytest.raises(ValueError, match="one direction"):
        make(kind, bidirectional=True).step(torch.randn(3, 6, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"expected input of shape \[batch, 6\] or \[6\]"):
        make(kind).step(torch.randn(2, 3, 6, dtype=torch.float64))


@NETWORKS
@pytest.mark.parametrize("every", [1, 4, 17])
def test_segments_change_no_gradient(kind, every):
    network = make(kind, bidirectional=True)
    x = torch.randn(17, 3, 6, dtype=torch.float64, requires_grad=True)

    def run():
        y, last = network(x)
        loss = (y * y.cos()).sum() + sum(state.sin().sum() for state in states_of(last))
        return y, *torch.autograd.grad(loss, [x, *network.parameters()])

    expected = run()
    network.checkpoint_every = every
    for own, other in zip(run(), expected, strict=True):
        assert_close(own, other, rtol=1e-10, atol=1e-10)


@NETWORKS
@pytest.mark.parametrize("lengths", [None, [17, 2, 9]])
def test_segments_keep_the_parameters_of_a_functional_call(kind, lengths):
    network, x = make(kind), torch.randn(17, 3, 6, dtype=torch.float64)
    others = {
        name: (2 * parameter).detach().requires_grad_()
        for name, parameter in network.named_parameters()
    }

    def gradients(every):
        network.checkpoint_every = every
        y, _ = functional_call(network, others, x, {"lengths": lengths})
        return torch.autograd.grad(y.square().sum(), others.values())

    for own, other in zip(gradients(4), gradients(None), strict=True):
        assert_close(own, other, rtol=1e-10, atol=1e-10)


@NETWORKS
def test_segments_compute_their_steps_again(kind, monkeypatch):
    network = make(kind, checkpoint_every=5)
    lengths = []
    layer = kind.run_layer

    def noting(self, name, x, initial):
        lengths.append(x.shape[0])
        return layer(self, name, x, initial)

    monkeypatch.setattr(kind, "run_layer", noting)
    x = torch.randn(12, 3, 6, dtype=torch.float64)
    with torch.no_grad():
        network(x)
    assert lengths == [12, 12]
    lengths.clear()
    y = network(x)[0]
    assert lengths == [5, 5, 2] * 2
    y.sum().backward()
    assert sorted(lengths) == [2, 2, 2, 2, 5, 5, 5, 5, 5, 5, 5, 5]


@pytest.mark.parametrize("kind", [SparseLSTM, SparseGRU])
def test_segments_keep_less(kind):
    def kept(every):
        network = make(kind, checkpoint_every=every)
        tensors = {}

        def pack(tensor):
            tensors[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(torch.randn(200, 3, 6, dtype=torch.float64))
        return sum(tensors.values())

    assert kept(20) < kept(None) / 2


@NETWORKS
def test_segments_of_no_step_are_refused(kind):
    with pytest.raises(ValueError, match="checkpoint_every of at least 1, found 0"):
        make(kind, checkpoint_every=0)
