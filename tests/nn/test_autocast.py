"""Networks under autocast: activations in bfloat16 where the cell can, parameters in float32."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import (
    DropConnect,
    SparseCTRNN,
    SparseGRU,
    SparseLinear,
    SparseLSTM,
    SparseLTC,
    SparseNeuralODE,
    SparseONLSTM,
    SparseRateRNN,
    SparseRHN,
    SparseRNN,
)
from sparse_engine.nn.cells.continuous import Continuous
from sparse_engine.topology import RigL

NETWORKS = {
    "rnn": lambda **options: SparseRNN(6, 70, 2, density=0.3, **options),
    "rnn, many inputs": lambda **options: SparseRNN(200, 70, density=0.3, **options),
    "rnn, sparse input": lambda **options: SparseRNN(
        6, 70, density=0.3, input_density=0.5, **options
    ),
    "lstm": lambda **options: SparseLSTM(6, 70, 2, density=0.3, **options),
    "lstm, many inputs": lambda **options: SparseLSTM(300, 70, density=0.3, **options),
    "lstm, projected": lambda **options: SparseLSTM(
        6, 70, 2, density=0.3, proj_size=30, cell_clip=1.0, bidirectional=True, **options
    ),
    "normed rnn": lambda **options: SparseRNN(6, 70, 2, density=0.3, layer_norm=True, **options),
    "normed lstm": lambda **options: SparseLSTM(6, 70, density=0.3, layer_norm=True, **options),
    "gru": lambda **options: SparseGRU(6, 70, 2, density=0.3, **options),
    "gru, sparse input": lambda **options: SparseGRU(
        6, 70, density=0.3, input_density=0.5, bidirectional=True, **options
    ),
    "rhn": lambda **options: SparseRHN(6, 70, 2, density=0.3, recurrence_depth=2, **options),
    "rhn, carry gates": lambda **options: SparseRHN(
        6, 70, density=0.3, recurrence_depth=3, coupled=False, bidirectional=True, **options
    ),
    "on_lstm": lambda **options: SparseONLSTM(6, 70, 2, density=0.3, chunk_size=10, **options),
    "ctrnn": lambda **options: SparseCTRNN(6, 70, density=0.3, **options),
    "ctrnn, many layers": lambda **options: SparseCTRNN(
        6, 70, 2, density=0.3, trainable_tau=True, bidirectional=True, cell_clip=2.0, **options
    ),
    "rate_rnn": lambda **options: SparseRateRNN(
        6, 70, 2, density=0.3, nonlinearity="softplus", trainable_tau=True, unfolds=3, **options
    ),
    "neural_ode": lambda **options: SparseNeuralODE(6, 70, density=0.3, **options),
    "ltc": lambda **options: SparseLTC(6, 70, density=0.3, **options),
}
EVERY = pytest.mark.parametrize("kind", NETWORKS)
NARROW = pytest.mark.parametrize(
    "kind", [name for name in NETWORKS if NETWORKS[name]().keeps_bfloat16("cpu")]
)


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
        return y, torch.autograd.grad((y * target).sum(), [*leaves.values()])

    expected, exact = gradients()
    with autocast():
        y, rounded = gradients()
        assert network(x)[0].dtype == (
            torch.bfloat16 if network.keeps_bfloat16("cpu") else torch.float32
        )
        if isinstance(network, SparseLSTM | SparseONLSTM):
            assert network(x)[1][1].dtype == torch.float32
        if isinstance(network, Continuous | SparseLTC):
            assert network(x)[1].dtype == torch.float32
    assert relative(y, expected) < 0.01
    for name, own, other in zip(leaves, rounded, exact, strict=True):
        assert own.dtype == torch.float32
        assert relative(own, other) < 0.03, name


@EVERY
def test_layers_of_a_model_follow_each_other(kind):
    network = NETWORKS[kind]()
    model = nn.ModuleList([network, SparseLinear(70, 200, density=0.2), NETWORKS["lstm"]()])
    x = torch.randn(5, 3, network.input_size)
    readout = nn.Linear(network(x)[0].shape[-1], 6)
    with autocast():
        y = readout(model[0](x)[0])
        y = model[2](y)[0]
        loss = model[1](y).float().square().mean()
    loss.backward()
    for name, parameter in network.named_parameters():
        assert 0 < parameter.grad.norm() < torch.inf, name


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


@NARROW
def test_compiled(kind):
    torch._dynamo.reset()
    network = NETWORKS[kind]()
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    x = torch.randn(5, 3, network.input_size)
    with autocast():
        own, other = compiled(x)[0], network(x)[0]
    assert torch.equal(own, other)
    for one, two in zip(*(gradients(y, network) for y in (own, other)), strict=True):
        if kind == "ltc":  # whose leaks and gains have sums of torch where they are compiled
            assert_close(one, two)
        else:
            assert torch.equal(one, two)


@NARROW
def test_exported(kind):
    network = NETWORKS[kind]()
    x = torch.randn(5, 3, network.input_size)
    with autocast(), torch.no_grad():
        program = torch.export.export(network, (x,))
        assert torch.equal(program.module()(x)[0], network(x)[0])


@NARROW
def test_computed_again_in_segments(kind):
    """Where a segment ends, gradients are rounded once more, and what a GRU or RHN carries is."""
    network = NETWORKS[kind]()
    x = torch.randn(7, 20, network.input_size)
    with autocast():
        whole = network(x)[0]
        network.checkpoint_every = 3
        again = network(x)[0]
    assert relative(again, whole) <= (2**-8 if isinstance(network, SparseGRU | SparseRHN) else 0)
    for one, two in zip(gradients(again, network), gradients(whole, network), strict=True):
        assert relative(one, two) <= 2**-7


@NARROW
def test_streams(kind):
    network = NETWORKS[kind]()
    if network.bidirectional:
        pytest.skip("needs the whole sequence")
    state, x = None, torch.randn(6, 3, network.input_size)
    with autocast():
        whole = network(x)[0]
        for t, step in enumerate(x):
            y, state = network.step(step, state)
            assert relative(y, whole[t]) <= 2**-8


@NARROW
def test_dropped_links(kind):
    torch.manual_seed(2)
    network = DropConnect(NETWORKS[kind](), 0.4)
    x = torch.randn(5, 3, network.network.input_size)

    def run():
        torch.manual_seed(4)
        return network(x)[0]

    exact = run()
    with autocast():
        assert relative(run(), exact) < 0.01


@pytest.mark.parametrize("every", [None, 3])
def test_dropped_units(every):
    """The mask of a highway network stays in float32, and the same in all segments."""
    network = SparseRHN(6, 70, density=0.3, recurrence_depth=2, recurrent_dropout=0.3)
    x = torch.randn(7, 5, 6)
    torch.manual_seed(4)
    exact = network(x)[0]
    network.checkpoint_every = every
    torch.manual_seed(4)
    with autocast():
        y = network(x)[0]
    assert relative(y, exact) < 0.01
    for one, two in zip(gradients(y, network), gradients(exact, network), strict=True):
        assert relative(one, two) < 0.03


@NARROW
def test_float16_is_not_what_they_keep(kind):
    network = NETWORKS[kind]()
    x = torch.randn(5, 3, network.input_size)
    exact = network(x)[0]
    with torch.autocast("cpu", torch.float16):
        assert torch.equal(network(x)[0], exact)


def test_normalised_gates_are_computed_in_float32():
    network = SparseLSTM(6, 20, density=0.3, layer_norm=True)
    x = torch.randn(5, 3, 6)
    exact = network(x)[0]
    with autocast():
        assert torch.equal(network(x)[0], exact)


def gradients(y, network):
    return torch.autograd.grad(y.float().square().sum(), network.parameters())


@pytest.mark.parametrize("cell", [SparseRNN, SparseLSTM, SparseGRU, SparseCTRNN, SparseLTC])
def test_any_number_of_threads_gives_the_same_bits(cell):
    torch.manual_seed(1)
    network = cell(6, 1500, density=0.02)
    x = torch.randn(4, 33, 6)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with autocast():
            y = network(x)[0]
        results.append((y, *gradients(y, network)))
    torch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


@NARROW
def test_packed_sequences(kind):
    network = NETWORKS[kind]()
    if not network.packable:
        pytest.skip("takes sequences of one length")
    x = torch.randn(7, 3, network.input_size)
    with autocast():
        whole = network(x, lengths=[7, 2, 5])[0]
        for n, length in enumerate([7, 2, 5]):
            alone = network(x[:length, n : n + 1])[0][:, 0]
            assert relative(whole[:length, n], alone) < 0.01
            assert not whole[length:, n].any()


@pytest.mark.parametrize(
    "kind", ["rnn", "lstm, projected", "gru", "rhn", "on_lstm", "ctrnn", "rate_rnn", "neural_ode"]
)
def test_growth_by_gradient(kind):
    network = NETWORKS[kind]()
    optimizer = torch.optim.Adam(network.parameters())
    rewiring = RigL(network, optimizer, steps=10, every=2)
    weight = network.weight_hh_l0[0] if kind == "rhn" else network.weight_hh_l0
    before = weight.col_indices.clone()
    for _ in range(4):
        with autocast():
            loss = network(torch.randn(5, 3, 6))[0].float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rewiring.step()
    assert not torch.equal(weight.col_indices, before)


@pytest.mark.parametrize("kind", ["ctrnn", "rate_rnn", "neural_ode"])
def test_timespans(kind):
    """They stay float32, as do their gradients; a rule that notes the factors changes little."""
    network = NETWORKS[kind]()
    x, timespans = torch.randn(5, 3, 6), torch.rand(5, 3, requires_grad=True)
    exact = torch.autograd.grad(network(x, timespans=timespans)[0].square().sum(), timespans)[0]
    with autocast():
        y = network(x, timespans=timespans)[0]
        network.weight_hh_l0.factors = []
        noted, state = network(x, timespans=timespans)
    assert y.dtype == noted.dtype == torch.bfloat16 and state.dtype == torch.float32
    assert relative(noted, y) < 0.01
    found = torch.autograd.grad(y.float().square().sum(), timespans)[0]
    assert found.dtype == torch.float32 and relative(found, exact) < 0.03


def test_bfloat16_without_autocast_is_refused():
    with pytest.raises(ValueError, match="input of dtype float32, found bfloat16"):
        NETWORKS["rnn"]()(torch.randn(5, 3, 6).bfloat16())
