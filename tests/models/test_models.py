"""Models of sparse layers: perceptrons, machines of visible and hidden units, and sequences."""

from itertools import product

import pytest
import torch
from testing import refusals
from torch import nn
from torch.testing import assert_close

from sparse_engine.lab.networks import MLPNetwork, RBMNetwork, RecurrentNetwork, limits
from sparse_engine.lab.networks.feed_forward import ACTIVATIONS
from sparse_engine.models import SequenceModel, SparseMLP, SparseRBM, set_density
from sparse_engine.nn import AllReLU, SparseLinear, SparseRNN, SReLU
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


def machine(visible=4, hidden=3, density=0.5, std=1.0):
    rbm = SparseRBM(
        visible,
        hidden,
        density=density,
        initial_std=std,
        generator=torch.Generator().manual_seed(0),
    ).double()
    with torch.no_grad():
        rbm.hidden_bias.normal_()
        rbm.visible_bias.normal_()
    return rbm


def states(units):
    return torch.tensor([*product((0.0, 1.0), repeat=units)], dtype=torch.float64)


def energies(rbm):
    """Return the energy of every pair of states, ``[visible states, hidden states]``."""
    v, h, w = states(4), states(3), rbm.weight.to_dense()
    return -(v @ w.T @ h.T) - (h @ rbm.hidden_bias) - (v @ rbm.visible_bias)[:, None]


def test_free_energy_sums_over_the_hidden_states():
    rbm = machine()
    assert_close(rbm.free_energy(states(4)), -torch.logsumexp(-energies(rbm), 1))


def test_probabilities_are_those_of_the_energy():
    rbm = machine()
    joint = torch.softmax(-energies(rbm).flatten(), 0).view(16, 8)
    assert_close(rbm.hidden_probabilities(states(4)), joint @ states(3) / joint.sum(1)[:, None])
    assert_close(rbm.visible_probabilities(states(3)), joint.T @ states(4) / joint.sum(0)[:, None])


@pytest.mark.parametrize("steps", [1, 3])
def test_the_gradient_is_that_of_contrastive_divergence(steps):
    rbm, v = machine(12, 7), torch.rand(10, 12, dtype=torch.float64)
    dense, b, c = (
        each.detach() for each in (rbm.weight.to_dense(), rbm.hidden_bias, rbm.visible_bias)
    )
    model, draw = v, torch.Generator().manual_seed(3)
    for _ in range(steps):
        h = torch.bernoulli(torch.sigmoid(model @ dense.T + b), generator=draw)
        model = torch.sigmoid(h @ dense + c)
    before, after = torch.sigmoid(v @ dense.T + b), torch.sigmoid(model @ dense.T + b)
    expected = (after.T @ model - before.T @ v) / 10
    rbm.contrastive_divergence(v, steps, generator=torch.Generator().manual_seed(3)).backward()
    rows, cols = rbm.weight.rows(), rbm.weight.col_indices.long()
    assert_close(rbm.weight.values.grad, expected[rows, cols])
    assert_close(rbm.hidden_bias.grad, (after - before).mean(0))
    assert_close(rbm.visible_bias.grad, (model - v).mean(0))


def test_a_description_makes_the_published_machine():
    rbm = RBMNetwork(set_density(10, 1024, 200)).rbm(
        1024, generator=torch.Generator().manual_seed(0)
    )
    assert rbm.weight.shape == (200, 1024) and rbm.weight.nnz == 12_240
    assert rbm.weight.values.std().item() == pytest.approx(0.05, rel=0.03)
    assert not rbm.hidden_bias.any() and not rbm.visible_bias.any()


test_wrong_arguments_are_named_of_rbm = refusals(
    (
        "expected steps of at least 1, found 0",
        lambda: machine().contrastive_divergence(states(4), 0),
    ),
    (
        "expected hidden units of torch.float64 and shape",
        lambda: machine().visible_probabilities(states(4)),
    ),
    ("expected input of shape", lambda: machine().free_energy(states(3))),
    ("finite initial_std of at least 0, found -1", lambda: machine(std=-1)),
    ("exactly one of density and epsilon", lambda: SparseRBM(4, 3)),
)


def model(**options):
    generator = torch.Generator().manual_seed(0)
    recurrent = SparseRNN(3, 20, density=0.3, generator=generator)
    return SequenceModel(recurrent, 4, generator=generator, **options)


def test_last_state_or_every_state_is_read_out():
    x = torch.randn(6, 5, 3)
    last, every = model(), model(every_step=True)
    assert last(x).shape == (5, 4) and every(x).shape == (6, 5, 4)
    torch.testing.assert_close(last(x), every(x)[-1])


def test_a_padded_sequence_is_read_out_at_its_own_end():
    x, lengths = torch.randn(6, 5, 3), torch.tensor([1, 6, 3, 2, 5])
    network = model()
    found = network(x, lengths)
    for k, length in enumerate(lengths):
        torch.testing.assert_close(found[k], network(x[:length, [k]])[0])


@pytest.mark.parametrize("std", [1.0, 0.1])
def test_readout_weights_are_normal_if_wanted(std):
    recurrent = SparseRNN(3, 500, density=0.01)
    generator = torch.Generator().manual_seed(0)
    readout = SequenceModel(recurrent, 50, readout_std=std, generator=generator).readout
    assert readout.weight.std().item() == pytest.approx(std, rel=0.02)
    assert readout.weight.abs().max() > 3 * std and not readout.bias.any()


def test_a_task_passes_the_readout_on():
    from sparse_engine.lab.tasks import Adding

    network = RecurrentNetwork(hidden=500, density=0.01, readout_std=2.0, input_std=0.5)
    built = Adding().build(network, generator=torch.Generator().manual_seed(0))
    assert built.readout.weight.std().item() == pytest.approx(2.0, rel=0.1)
    assert built.recurrent.weight_ih_l0.std().item() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("density", [0.05, 1.0])
def test_unscaled_weights_do_not_depend_on_the_density(density):
    network = RecurrentNetwork(hidden=300, density=density, gain=1.5, unscaled=True)
    weight = network.recurrent(3, generator=torch.Generator().manual_seed(0)).weight_hh_l0
    std = weight.values.std().item()
    assert std == pytest.approx(1.5 / (3 * 300) ** 0.5, rel=0.05)


def test_step_dropout_drops_whole_steps_in_training():
    network = model(step_dropout=0.4)
    seen = []
    network.recurrent.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = torch.rand(50, 40, 3) + 1
    network(x)
    network.eval()(x)
    dropped = (seen[0] == 0).all(2)
    assert dropped.double().mean() == pytest.approx(0.4, abs=0.05)
    torch.testing.assert_close(seen[0][~dropped], x[~dropped] / 0.6)
    assert torch.equal(seen[1], x)
    with pytest.raises(ValueError, match=r"step_dropout in \[0, 1\], found 1\.5"):
        model(step_dropout=1.5)


def test_conductances_keep_their_own_initial_values():
    network = RecurrentNetwork(cell="ltc", hidden=14, input_std=1.0, unscaled=True).recurrent(
        3, generator=torch.Generator().manual_seed(0)
    )
    assert (network.weight_ih_l0.values > 0).all() and (network.weight_hh_l0.values > 0).all()
