"""Multilayer perceptrons: their layers, links, initial values and descriptions."""

import pytest
import torch
from testing import refusals
from torch import nn
from torch.testing import assert_close

from sparse_engine.lab.networks import MLPNetwork, limits
from sparse_engine.lab.networks.feed_forward import ACTIVATIONS
from sparse_engine.models import SparseMLP, set_density
from sparse_engine.nn import AllReLU, SparseLinear, SReLU
from sparse_engine.topology import GradualPruning

SIZES = [30, 20, 16, 4]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_is_the_product_of_its_dense_layers():
    model = SparseMLP(SIZES, density=0.3, dropout=0.2, generator=generator()).eval()
    x = torch.randn(7, 30)
    expected = x
    for number, layer in enumerate(model.linear):
        assert isinstance(layer, SparseLinear)
        expected = expected @ layer.weight.to_dense().T + layer.bias
        expected = expected.relu() if number < 2 else expected
    assert_close(model(x), expected)
    assert_close(model(x.view(7, 1, 30)), expected.view(7, 1, 4))
    assert not torch.equal(model.train()(x), model(x))


def test_epsilon_gives_the_published_numbers_of_links():
    """The demo of SET: 3312-3000-3000-3000-5 and epsilon 20, where draws may coincide."""
    model = SparseMLP([3312, 3000, 3000, 3000, 5], epsilon=20)
    links = [layer.weight.nnz for layer in model.linear[:3]]
    assert links == [20 * (3312 + 3000), 20 * 6000, 20 * 6000]
    # All 15,000 positions of the output layer hold a link, so it is an ordinary layer.
    assert type(model.linear[3]) is nn.Linear


def test_each_layer_may_have_a_density_of_its_own():
    model = SparseMLP(SIZES, density=[0.1, 1.0, 0.5])
    assert isinstance(model.linear[1], nn.Linear)
    assert [model.linear[layer].weight.nnz for layer in (0, 2)] == [60, 32]


def test_all_links_of_density_1_can_be_pruned():
    model = SparseMLP(SIZES, density=1.0)
    assert all(isinstance(layer, SparseLinear) for layer in model.linear)
    pruning = GradualPruning(model, None, density=0.1, last=2, every=1)
    for _ in range(2):
        pruning.step()
    assert sum(layer.weight.nnz for layer in model.linear) == round(0.1 * (600 + 320 + 64))


@pytest.mark.parametrize("dense", [False, True])
def test_initial_values_have_the_variance_of_he(dense):
    layer = made(dense)
    values = layer.weight if dense else layer.weight.values
    fan_in = 500 if dense else layer.weight.fan_in()[layer.weight.rows()]
    assert (values**2 * fan_in).mean().item() == pytest.approx(2, rel=0.03)
    assert not layer.bias.any()


@pytest.mark.parametrize("dense", [False, True])
def test_initial_values_may_be_normal(dense):
    layer = made(dense, initial_std=0.1)
    values = (layer.weight if dense else layer.weight.values).detach().flatten()
    assert values.std().item() == pytest.approx(0.1, rel=0.03)
    assert (values.abs() < 0.1).float().mean().item() == pytest.approx(0.683, abs=0.02)


def made(dense, **options):
    """Return the last of two layers, with 400 outputs."""
    density = 1.0 if dense else 0.2
    model = SparseMLP([3, 500, 400], density=[0.5, density], generator=generator(), **options)
    assert isinstance(model.linear[1], nn.Linear) == dense
    return model.linear[1]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_description_makes_the_network(activation):
    network = MLPNetwork(
        hidden=(20, 16), density=0.2, activation=activation, slope=0.7, dropout=0.1
    )
    before = torch.get_rng_state()
    model, same, other = (network.mlp(30, 4, generator=generator(s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    kind = {"all_relu": AllReLU, "relu": nn.ReLU, "srelu": SReLU}[activation]
    assert sum(isinstance(each, kind) for each in model.layers) == 2
    assert [each.p for each in model.layers if isinstance(each, nn.Dropout)] == [0.1, 0.1]
    assert all(each.slope == 0.7 for each in model.layers if isinstance(each, AllReLU))
    entries = model.state_dict()
    assert all(torch.equal(entry, same.state_dict()[name]) for name, entry in entries.items())
    name = "layers.linear0.weight.values"
    assert not torch.equal(entries[name], other.state_dict()[name])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"allocation": "equal", "density": 0.1}, [60, 32, 6]),
        # In proportion to 50, 36 and 20, of which the last fills its layer.
        ({"density": 0.5}, [249, 179, 64]),
        ({"density": 0.5, "dense_output": True}, [267, 193, 64]),
        ({"density": 1.0}, [600, 320, 64]),
        ({"density": set_density(2, *SIZES)}, [100, 72, 40]),
    ],
)
def test_links_are_allocated(options, expected):
    model = MLPNetwork(hidden=(20, 16), **options).mlp(30, 4, generator=generator())
    links = [
        layer.weight.nnz if isinstance(layer, SparseLinear) else layer.weight.numel()
        for layer in model.linear
    ]
    assert links == expected
    dense = expected[2] == 64 and options["density"] < 1
    assert isinstance(model.linear[2], nn.Linear) == dense


def of(sizes=SIZES, **options):
    return lambda: SparseMLP(sizes, **options)


ONE_OF = "expected exactly one of density and epsilon"
test_wrong_arguments_are_named = refusals(
    (r"expected sizes of inputs and outputs at least, found \[3\]", of([3])),
    (ONE_OF, of()),
    (ONE_OF, of(density=0.1, epsilon=2)),
    (r"expected density in \(0, 1\], found 1.1", of(density=1.1)),
    ("expected finite epsilon > 0, found -1", of(epsilon=-1)),
    ("expected a finite initial_std of at least 0", of(density=0.1, initial_std=-1.0)),
    ("expected a finite initial_std", of(density=0.1, initial_std=float("nan"))),
    ("expected a density for each of 3 layers, found 2", of(density=[0.1, 0.5])),
)


def test_a_network_too_large_for_the_machine_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "memory", lambda: 1e6)
    network = MLPNetwork(0.5, hidden=(1000,))
    with pytest.raises(ValueError, match="found 1,110 units, 55,000 links"):
        network.mlp(100, 10, generator=generator())
