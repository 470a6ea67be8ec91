"""Values that torch.nn.utils computes, and factors that are captured."""

import copy
import warnings
from functools import partial

import pytest
import torch
from contract import networks
from contract.equations import EQUATIONS, Equations
from contract.networks import (
    assert_same,
    cell_of,
    forms_where,
    is_taken,
    make,
    mostly_exhaustive,
    outcome,
    weights_of,
)
from pairwise import pairwise
from testing import CELLS, leaves_of, output_of
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, parametrize, prune
from torch.testing import assert_close

from sparse_engine import nn as sparse
from sparse_engine.nn import FixedSigns, GroupedWeight, SparseLinear, SparseRNN, SparseWeight
from sparse_engine.topology import SET

MODULES = {
    **{name: networks.MODULES[name] for name in ("linear", *CELLS)},
    "recomputed": partial(networks.MODULES["rnn"], checkpoint_every=3),
    "projected": partial(networks.MODULES["lstm"], proj_size=5),
}


def by_a_hook(weight):
    """A user's forward pre-hook that sets what the forward pass reads."""
    values = weight.values
    del weight.values
    weight.raw = values
    weight.values = values.detach()
    weight.register_forward_pre_hook(lambda module, _: setattr(module, "values", module.raw.sin()))


def pruned(weight):
    generator = torch.Generator().manual_seed(3)
    mask = torch.rand(weight.nnz, generator=generator) < 0.5
    prune.custom_from_mask(weight, "values", mask)


def normed(norm, weight, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        norm(weight, "values", **options)


WAYS = {
    "prune": pruned,
    "weight_norm": partial(normed, nn.utils.weight_norm, dim=None),
    "spectral_norm": partial(normed, nn.utils.spectral_norm, n_power_iterations=20),
    "hook": by_a_hook,
    "parametrize": partial(normed, parametrizations.weight_norm, dim=None),
}
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


def sources_of(weight):
    """The parameters that values are computed from."""
    return (each for name, each in weight.named_parameters() if "values" in name or name == "raw")


@pytest.mark.parametrize(
    ("kind", "way"),
    [*((kind, "parametrize") for kind in MODULES), *(("lstm", way) for way in WAYS)],
)
def test_what_is_computed_is_what_a_network_uses_and_trains(kind, way):
    torch.manual_seed(1)
    module = MODULES[kind](dtype=torch.float64)
    twin, x = copy.deepcopy(module), torch.randn(7, 3, 6, dtype=torch.float64)
    for weight in weights_of(module).values():
        WAYS[way](weight)
    sources = [[*sources_of(weight)] for weight in weights_of(module).values()]
    optimizer = torch.optim.SGD([each for of_one in sources for each in of_one], lr=0.05)
    for _ in range(3):
        y = output_of(module, x)
        loss = y.square().sum()
        optimizer.zero_grad()
        loss.backward()
        computed = []
        for weight, plain in zip(
            weights_of(module).values(), weights_of(twin).values(), strict=True
        ):
            for hook in weight._forward_pre_hooks.values():
                hook(weight, ())
            computed.append(weight.values)
            plain.values.data.copy_(weight.values)
        expected = output_of(twin, x)
        assert_close(y, expected, rtol=1e-12, atol=1e-12)
        twin.zero_grad()
        expected.square().sum().backward()
        for plain, values, of_one in zip(weights_of(twin).values(), computed, sources, strict=True):
            gradients = torch.autograd.grad(values, of_one, plain.values.grad)
            for source, gradient in zip(of_one, gradients, strict=True):
                assert gradient.abs().sum() > 0
                assert_close(source.grad, gradient, rtol=1e-6, atol=1e-8)
        optimizer.step()


def small():
    generator = torch.Generator().manual_seed(1)
    return SparseRNN(6, 21, 2, density=0.3, generator=generator)


@mostly_exhaustive("way", WAYS, "hook")
def test_compiled_networks_take_other_sources(way):
    network, x = small(), torch.randn(5, 3, 6)
    WAYS[way](network.weight_hh_l0)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    for _ in range(2):
        assert_close(compiled(x)[0], network(x)[0])
        with torch.no_grad():
            for source in sources_of(network.weight_hh_l0):
                source.mul_(0.5)


@pytest.mark.parametrize(
    ("kind", "way"), [*((kind, None) for kind in MODULES), *(("lstm", way) for way in WAYS)]
)
def test_functional_call_takes_other_parameters(kind, way):
    module, x = MODULES[kind](dtype=torch.float64), torch.randn(7, 3, 6, dtype=torch.float64)
    for weight in weights_of(module).values() if way else []:
        WAYS[way](weight)
    others = {name: 0.5 * each.detach() for name, each in module.named_parameters()}
    before, found = output_of(module, x), output_of(partial(functional_call, module, others), (x,))
    assert_close(output_of(module, x), before)
    assert (found - before).norm() > 0.01 * before.norm()
    with torch.no_grad():
        for name, each in module.named_parameters():
            each.copy_(others[name])
    assert_close(output_of(module, x), found)


@EVERY_WAY
def test_conductances_that_are_computed_are_not_clipped_in_vain(way):
    network = sparse.SparseLTC(6, 21, density=0.3)
    WAYS[way](network.weight_hh_l0)
    with pytest.raises(AttributeError, match=r"`values` is not an nn\.Parameter"):
        network.clip_()


@EVERY_WAY
def test_a_rewiring_is_refused_and_nothing_changes(way):
    network = small()
    WAYS[way](network.weight_hh_l1)
    network(torch.randn(5, 3, 6))
    before = {name: each.clone() for name, each in network.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"remove_parametrizations|prune\.remove.*engine\.topology"
    ):
        SET(network, None, every=1).step()
    weight = network.weight_hh_l1
    for change in (
        lambda: SET(network, None),
        lambda: weight.set_pattern(weight.pattern, torch.zeros(weight.nnz)),
        weight.reset_parameters,
        lambda: FixedSigns(weight),
    ):
        with pytest.raises(ValueError, match=r"remove_parametrizations|remove_weight_norm"):
            change()
    assert network.weight_hh_l0.topology_version == weight.topology_version == 0
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())


def test_what_is_left_is_rewired_once_it_is_permanent():
    network = small()
    weight, other = network.weight_hh_l0, network.weight_hh_l1
    prune.l1_unstructured(weight, "values", amount=0.5)
    prune.l1_unstructured(weight, "values", amount=10)
    prune.remove(weight, "values")
    assert int((weight.values == 0).sum()) == weight.nnz // 2 + 10
    WAYS["parametrize"](other)
    parametrize.remove_parametrizations(other, "values")
    SET(network, None, fraction=0.3, every=1).step()
    assert weight.topology_version == other.topology_version == 1


@pytest.mark.parametrize("name", ["weight_ih_l0", "bias_hh_l0"])
def test_dense_parameters_are_parametrized(name):
    network, x = small(), torch.randn(7, 3, 6)
    parametrize.register_parametrization(network, name, nn.Softplus())
    y = network(x)[0]
    y.sum().backward()
    assert network.parametrizations[name].original.grad.abs().sum() > 0
    parametrize.remove_parametrizations(network, name)
    assert_close(network(x)[0], y)


def test_a_parametrized_weight_of_another_size_is_refused():
    network, other = (SparseRNN(6, 21, density=share) for share in (0.3, 0.2))
    for each in (network, other):
        parametrize.register_parametrization(each.weight_hh_l0, "values", nn.Softplus())
    with pytest.raises(RuntimeError, match="expected 132 links, as many as the parametrized"):
        network.load_state_dict(other.state_dict())


@EVERY_WAY
def test_state_dicts_of_what_values_are_computed_from(way):
    network, other, x = small(), small(), torch.randn(5, 3, 6)
    for each in (network, other):
        WAYS[way](each.weight_hh_l0)
    with torch.no_grad():
        for source in sources_of(network.weight_hh_l0):
            source.mul_(0.5)
    state = network.state_dict()
    other.load_state_dict(state)
    assert_close(other(x)[0], network(x)[0])
    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*weight_hh_l0.*Unexpected key"):
        small().load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*weight_hh_l0.*Unexpected key"):
        other.load_state_dict(small().state_dict())
    if way == "parametrize":
        return
    source = next(
        name for name in state if name.startswith("weight_hh_l0") and "_indices" not in name
    )
    with pytest.raises(RuntimeError, match=r"floating-point dtype, found torch\.complex64"):
        other.load_state_dict(state | {source: state[source] * 1j})
    shapes = r"expected (.*) of shape \[.*\], found \1 of shape \[3, 1\]"
    with pytest.raises(RuntimeError, match=shapes):
        other.load_state_dict(state | {source: torch.ones(3, 1)})
    assert_close(other(x)[0], network(x)[0])


@pytest.mark.parametrize("way", ["prune", "parametrize"])
def test_gains_are_computed(way):
    network, x = small(), torch.randn(5, 3, 6)
    wiring = network.weight_hh_l0
    group = torch.arange(wiring.nnz) % 4
    network.weight_hh_l0 = weight = GroupedWeight(wiring.values, wiring.pattern, group)
    untouched = copy.deepcopy(network)
    if way == "prune":
        prune.custom_from_mask(weight, "gain", torch.tensor([True, False, True, True]))
    else:
        parametrize.register_parametrization(weight, "gain", nn.Softplus())
    for _ in range(2):
        expected = weight.gain.detach()
        network.load_state_dict(network.state_dict())
        untouched.weight_hh_l0.gain.data.copy_(expected)
        y = network(x)[0]
        assert_close(y, untouched(x)[0])
        y.sum().backward()
        with torch.no_grad():
            for name, each in weight.named_parameters():
                assert "gain" in name and each.grad.abs().sum() > 0
                each.add_(1)
        network(x)
    with pytest.raises(ValueError, match=r"remove_parametrizations|remove_weight_norm"):
        weight.reset_parameters()


def test_other_hooks_of_a_weight_are_none_of_a_cells_business():
    """Tools that look at the inputs of all modules find no call of a weight in a recurrent cell."""
    network, seen = small(), []
    for module in network.modules():
        module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    network(torch.randn(5, 3, 6))
    assert seen == [(5, 3, 6), (5, 3, 21)]


def test_hooks_of_loading_are_called():
    weight = small().weight_hh_l0
    state = {f"old_{name}": each for name, each in weight.state_dict().items()}

    def rename(module, state_dict, prefix, *_):
        for name in [*state_dict]:
            state_dict[name.removeprefix("old_")] = state_dict.pop(name)

    weight.register_load_state_dict_pre_hook(rename)
    weight.load_state_dict(state)


@EVERY_WAY
def test_embeddings_and_penalties(way):
    generator = torch.Generator().manual_seed(1)
    weight = SparseWeight.erdos_renyi(9, 5, density=0.5, generator=generator)
    embedding, words = sparse.SparseEmbedding(weight), torch.arange(9)
    WAYS[way](weight)
    optimizer = torch.optim.SGD([*sources_of(weight)], lr=0.1)
    for _ in range(2):
        vectors, penalty = embedding(words), sparse.link_penalty(embedding, l2=1.0)
        for hook in weight._forward_pre_hooks.values():
            hook(weight, ())
        assert_close(vectors, weight.to_dense())
        assert_close(penalty, weight.to_dense().square().sum())
        (vectors.sum() + penalty).backward()
        optimizer.step()


GROWING = forms_where(lambda entry: entry.cell.gradient_growth)


def capturing(model):
    for weight in weights_of(model).values():
        weight.captured = [[]]
    return model


def dense_gradient(weight):
    (pairs,) = weight.captured
    return sum(dy.T @ x for dy, x in pairs)


GIVEN = {
    "padded": {},
    "lengths": {"lengths": [2, 7, 7, 1, 5]},
    "resets": {"resets": torch.rand(7, 5, generator=torch.Generator().manual_seed(1)) < 0.3},
    "timespans": {"timespans": torch.linspace(0.1, 0.7, 7, dtype=torch.float64)},
}


@pairwise(is_taken, form=GROWING, given=GIVEN, initial=[True, False], input_density=[1.0, 0.5])
def test_networks(form, given, initial, input_density):
    dropped = {"recurrent_dropout": 0.4} if form.startswith("rhn") else {}
    network = make(form, num_layers=2, bidirectional=True, input_density=input_density, **dropped)
    network.eval()
    leaves = leaves_of(network, 7, 5, initial=initial)
    plain = outcome(network, leaves, **given)
    equations = Equations(network, EQUATIONS[cell_of(form)])
    outcome(network, leaves, call=equations, **given)
    assert_same(outcome(capturing(network), leaves, **given), plain, 1e-10)
    for name, weight in weights_of(network).items():
        own, dense = dense_gradient(weight), equations.gradients[weight]
        assert_close(own, dense, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("form", GROWING)
def test_nothing_is_captured_without_gradients(form):
    network = make(form, dtype=torch.float32)
    x = torch.randn(4, 3, network.input_size)
    with torch.no_grad():
        wanted, found = network(x)[0], capturing(network)(x)[0]
    assert torch.equal(found, wanted), "evaluation takes the way that it takes without a method"
    assert all(weight.captured == [[]] for weight in weights_of(network).values())


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
def test_linear(shape):
    layer = capturing(SparseLinear(7, 7, density=0.3, dtype=torch.float64))
    dense, x = layer.to_dense(), torch.randn(shape, dtype=torch.float64)
    for model in (layer, dense):
        model(model(x)).square().sum().backward()
        model(x).sum().backward()
    assert len(layer.weight.captured[0]) == 3
    assert_close(dense_gradient(layer.weight), dense.weight.grad)
    layer.weight.captured = [[]]
    with torch.no_grad():
        layer(x)
    assert layer.weight.captured == [[]]
