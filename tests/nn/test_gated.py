"""SparseLSTM and SparseGRU against torch.nn: results, states and every gradient."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseGRU, SparseLSTM, SparseWeight
from sparse_engine.testing import leaves_of
from sparse_engine.topology import SET

NETWORKS = {"lstm": SparseLSTM, "gru": SparseGRU}
DENSE = {"lstm": nn.LSTM, "gru": nn.GRU}
CELLS = pytest.mark.parametrize("cell", NETWORKS)
VARIANTS = {
    "plain": {},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "batch first": {"batch_first": True, "num_layers": 2},
    "no bias": {"bias": False, "num_layers": 2},
    "sparse input both ways": {"input_density": 0.5, "num_layers": 2, "bidirectional": True},
    "almost no links": {"density": 0.01, "input_density": 0.01},
    "all links": {"density": 1.0},
}


class Flat(nn.Module):
    """A network that takes and returns its states one by one."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, *state):
        y, last = self.network(x, *(state if len(state) < 2 else (state,)))
        return y, *(last if isinstance(last, tuple) else (last,))


def make(cell, dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(4)
    options = {"density": 0.3, "dtype": dtype, "generator": generator} | options
    return NETWORKS[cell](6, 21, **options)


@CELLS
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("batch", [1, 5, None])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_the_dense_network(cell, variant, initial, batch, dtype, check_like_dense):
    network = make(cell, dtype, **VARIANTS[variant])
    dense = network.to_dense()
    assert type(dense) is DENSE[cell]
    bound = 1e-10 if dtype == torch.float64 else 1e-5
    check_like_dense(
        Flat(network), Flat(dense), leaves_of(network, 7, batch, initial=initial), bound
    )


@CELLS
@pytest.mark.parametrize("steps", [1, 40])
@pytest.mark.parametrize("batch", [1, 33, 150])
def test_lengths_and_batches(cell, steps, batch, check_like_dense):
    network = make(cell, num_layers=2)
    leaves = leaves_of(network, steps, batch)
    check_like_dense(Flat(network), Flat(network.to_dense()), leaves, 1e-10)


@CELLS
@pytest.mark.parametrize("variant", VARIANTS)
def test_names_are_those_of_the_dense_network(cell, variant):
    network = make(cell, **VARIANTS[variant])
    names = [name.removesuffix(".values") for name, _ in network.named_parameters()]
    assert sorted(names) == sorted(name for name, _ in network.to_dense().named_parameters())
    assert network.weight_hh_l0.shape == (network.gates * 21, 21)


@CELLS
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_empty_batch(cell, dtype):
    network = Flat(make(cell, dtype, num_layers=2, bidirectional=True))
    y, *final = network(*leaves_of(network.network, 4, 0))
    assert y.shape == (4, 0, 42) and all(state.shape == (4, 0, 21) for state in final)
    y.sum().backward()
    for parameter in network.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


@CELLS
def test_the_final_state_continues_a_sequence(cell):
    network = make(cell, num_layers=2)
    x = leaves_of(network, 9, 4)[0]
    whole, last = network(x)
    first, between = network(x[:5])
    second, end = network(x[5:], between)
    assert_close(torch.cat([first, second]), whole, rtol=1e-14, atol=1e-14)
    assert_close(end, last, rtol=1e-14, atol=1e-14)


@CELLS
def test_results_without_gradients_have_the_same_bits(cell):
    network = make(cell, torch.float32, num_layers=2, bidirectional=True)
    x = leaves_of(network, 5, 3)[0]
    recorded, _ = network(x)
    with torch.no_grad():
        assert torch.equal(network(x)[0], recorded)
    with torch.inference_mode():
        assert torch.equal(network(x)[0], recorded)


@CELLS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_is_kept_without_density_or_mask(cell, dtype, check_like_dense):
    options = {"num_layers": 2, "batch_first": True, "bidirectional": True}
    dense = DENSE[cell](6, 21, **options, dtype=dtype).eval()
    network = NETWORKS[cell].from_dense(dense)
    bound = 1e-10 if dtype == torch.float64 else 1e-5
    check_like_dense(Flat(network), Flat(dense), [torch.randn(3, 4, 6, dtype=dtype)], bound)


@CELLS
def test_density_and_masks(cell):
    dense = DENSE[cell](6, 21)
    weight = dense.weight_hh_l0.detach()
    network = NETWORKS[cell].from_dense(dense, density=0.1)
    kept = network.weight_hh_l0.to_dense() != 0
    assert network.weight_hh_l0.nnz == int(kept.sum()) == round(0.1 * weight.numel())
    assert weight.abs()[kept].min() >= weight.abs()[~kept].max()
    mask = torch.rand(weight.shape) < 0.2
    masked = NETWORKS[cell].from_dense(dense, mask=mask)
    assert torch.equal(masked.to_dense().weight_hh_l0, weight * mask)
    with pytest.raises(TypeError, match=f"expected a torch.nn.{cell.upper()}, found RNN"):
        NETWORKS[cell].from_dense(nn.RNN(6, 21))


@CELLS
@pytest.mark.parametrize("input_density", [1.0, 0.5])
@pytest.mark.parametrize("initial", [False, True])
def test_factors_are_those_of_the_dense_gradient(cell, input_density, initial):
    network = make(cell, num_layers=2, bidirectional=True, input_density=input_density)
    dense = network.to_dense()
    for module in network.modules():
        if isinstance(module, SparseWeight):
            module.captured = [[]]
    leaves = leaves_of(network, 4, 3, initial=initial)
    for model in (Flat(network), Flat(dense)):
        sum(result.square().sum() for result in model(*leaves)).backward()
    for name, parameter in dense.named_parameters():
        weight = getattr(network, name)
        if isinstance(weight, SparseWeight):
            (pairs,) = weight.captured
            assert_close(sum(dy.T @ x for dy, x in pairs), parameter.grad)


@CELLS
def test_nothing_is_noted_without_gradients(cell):
    network = make(cell)
    network.weight_hh_l0.captured = [[]]
    with torch.no_grad():
        network(leaves_of(network, 4, 3)[0])
    assert network.weight_hh_l0.captured == [[]]


@CELLS
@pytest.mark.parametrize("way", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_independent(cell, way):
    network = make(cell, torch.float32)
    other, fresh = way(network), make(cell, torch.float32, generator=None)
    fresh.load_state_dict(network.state_dict())
    x = leaves_of(network, 4, 3)[0]
    before = network(x)[0]
    SET(network, None, fraction=0.5, every=1).step()
    assert not torch.equal(network(x)[0], before)
    assert torch.equal(other(x)[0], before)
    assert torch.equal(fresh(x)[0], before)


@CELLS
def test_learns(cell):
    recurrent = NETWORKS[cell](3, 30, density=0.2)
    readout = nn.Linear(30, 2)
    optimizer = torch.optim.Adam([*recurrent.parameters(), *readout.parameters()], lr=0.02)
    x, target = torch.randn(8, 16, 3), torch.randn(16, 2)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = (readout(recurrent(x)[0][-1]) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


@CELLS
def test_compiles_without_a_graph_break(cell):
    network = make(cell, torch.float32, num_layers=2)
    x = leaves_of(network, 4, 3)[0]
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), network(x))
    compiled(x)[0].sum().backward()
    grads = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    network(x)[0].sum().backward()
    for one, parameter in zip(grads, network.parameters(), strict=True):
        assert_close(one, parameter.grad)


@CELLS
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ((1, 2, 21), r"h0 of shape \[1, 3, 21\], found \[1, 2, 21\]"),
        ((3, 21), r"h0 of shape \[1, 3, 21\], found \[3, 21\]"),
    ],
)
def test_shapes_of_the_initial_state(cell, state, message):
    network = make(cell)
    h0 = torch.randn(state, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        network(torch.randn(4, 3, 6).double(), (h0, h0) if cell == "lstm" else h0)


def test_the_state_of_an_lstm_is_a_pair():
    network, x, h0 = make("lstm"), torch.randn(4, 3, 6).double(), torch.randn(1, 3, 21).double()
    for state, found in [(h0, "Tensor"), ((h0,), "tuple of 1"), ([h0] * 3, "list of 3")]:
        with pytest.raises(TypeError, match=rf"expected a pair \(h0, c0\), found {found}"):
            network(x, state)
    with pytest.raises(ValueError, match=r"c0 of shape \[1, 3, 21\], found \[2, 3, 21\]"):
        network(x, (h0, torch.randn(2, 3, 21)))


def test_a_gru_has_no_projection():
    with pytest.raises(TypeError, match="proj_size"):
        SparseGRU(6, 21, proj_size=5, density=0.3)
