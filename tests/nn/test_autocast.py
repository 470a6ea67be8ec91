"""Networks under autocast: activations in bfloat16 where the cell can, parameters in float32."""

import pytest
import torch
from torch import nn

from sparse_engine.nn import (
    SparseCTRNN,
    SparseGRU,
    SparseLinear,
    SparseLSTM,
    SparseLTC,
    SparseNeuralODE,
    SparseONLSTM,
    SparseRHN,
    SparseRNN,
)
from sparse_engine.topology import RigL

NETWORKS = {
    "rnn": lambda **options: SparseRNN(6, 70, 2, density=0.3, **options),
    "rnn, many inputs": lambda **options: SparseRNN(200, 70, density=0.3, **options),
    "rnn, sparse input": lambda **options: SparseRNN(
        6, 70, density=0.3, input_density=0.5, **options
    ),
    "lstm": lambda **options: SparseLSTM(6, 70, 2, density=0.3, **options),
    "normed rnn": lambda **options: SparseRNN(6, 70, 2, density=0.3, layer_norm=True, **options),
    "normed lstm": lambda **options: SparseLSTM(6, 70, density=0.3, layer_norm=True, **options),
    "gru": lambda **options: SparseGRU(6, 70, 2, density=0.3, **options),
    "rhn": lambda **options: SparseRHN(6, 70, density=0.3, recurrence_depth=2, **options),
    "on_lstm": lambda **options: SparseONLSTM(6, 70, density=0.3, chunk_size=10, **options),
    "ctrnn": lambda **options: SparseCTRNN(6, 70, density=0.3, **options),
    "neural_ode": lambda **options: SparseNeuralODE(6, 70, density=0.3, **options),
    "ltc": lambda **options: SparseLTC(6, 70, density=0.3, **options),
}
EVERY = pytest.mark.parametrize("kind", NETWORKS)


def autocast():
    return torch.autocast("cpu", torch.bfloat16)


def relative(own, other):
    own, other = own.detach().double(), other.detach().double()
    return float((own - other).norm() / other.norm())


@EVERY
@pytest.mark.parametrize("batch", [1, 5, 20, 33, 64])
def test_close_to_float32(kind, batch):
    torch.manual_seed(3)
    network = NETWORKS[kind]()
    x = torch.randn(12, batch, network.input_size, requires_grad=True)
    leaves = {"x": x} | dict(network.named_parameters())
    target = torch.randn_like(network(x)[0])

    def gradients():
        y = network(x)[0].float()
        return y, torch.autograd.grad((y * target).sum(), [*leaves.values()], allow_unused=True)

    expected, exact = gradients()
    with autocast():
        y, rounded = gradients()
        assert network(x)[0].dtype == (torch.bfloat16 if network.narrow else torch.float32)
    assert relative(y, expected) < 0.01
    for name, own, other in zip(leaves, rounded, exact, strict=True):
        assert (own is None) == (other is None)
        if own is not None and float(other.norm()) > 0:
            assert own.dtype == torch.float32
            assert relative(own, other) < 0.03, name


@EVERY
def test_layers_of_a_model_follow_each_other(kind):
    network = NETWORKS[kind]()
    model = nn.ModuleList([network, SparseLinear(70, 200, density=0.2), NETWORKS["lstm"]()])
    readout = nn.Linear(70, 6)
    x = torch.randn(5, 3, network.input_size)
    with autocast():
        y = readout(model[0](x)[0])
        y = model[2](y)[0]
        loss = model[1](y).float().square().mean()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@EVERY
def test_an_initial_state_of_either_dtype(kind):
    network = NETWORKS[kind]()
    x = torch.randn(5, 3, network.input_size)
    with autocast():
        y, state = network(x)
        again, _ = network(x, state)
        flat = state if isinstance(state, tuple) else (state,)
        wide = tuple(each.float() for each in flat)
        other, _ = network(x, wide if isinstance(state, tuple) else wide[0])
    assert torch.equal(again, other)
    assert not torch.equal(again, y)


def test_compiled():
    network = NETWORKS["rnn"]()
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    x = torch.randn(5, 3, 6)
    with autocast():
        assert torch.equal(compiled(x)[0], network(x)[0])


def test_any_number_of_threads_gives_the_same_bits():
    torch.manual_seed(1)
    network = SparseRNN(6, 3000, density=0.02)
    x = torch.randn(4, 33, 6)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with autocast():
            y = network(x)[0]
        results.append((y, *torch.autograd.grad(y.float().square().sum(), network.parameters())))
    torch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


def test_packed_sequences():
    network = NETWORKS["rnn"]()
    x = torch.randn(7, 3, 6)
    with autocast():
        whole = network(x, lengths=[7, 2, 5])[0]
        for n, length in enumerate([7, 2, 5]):
            alone = network(x[:length, n : n + 1])[0][:, 0]
            assert relative(whole[:length, n], alone) < 0.01
            assert not whole[length:, n].any()


def test_growth_by_gradient():
    network = SparseRNN(6, 70, density=0.3)
    optimizer = torch.optim.Adam(network.parameters())
    rewiring = RigL(network, optimizer, steps=10, every=2)
    before = network.weight_hh_l0.col_indices.clone()
    for _ in range(4):
        with autocast():
            loss = network(torch.randn(5, 3, 6))[0].float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rewiring.step()
    assert not torch.equal(network.weight_hh_l0.col_indices, before)


def test_bfloat16_without_autocast_is_refused():
    with pytest.raises(ValueError, match="input of dtype float32, found bfloat16"):
        NETWORKS["rnn"]()(torch.randn(5, 3, 6).bfloat16())
