"""AllReLU, SReLU and the penalty on links against their definitions."""

import numpy as np
import pytest
import torch
from testing import refusals
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import AllReLU, SparseLinear, SparseRNN, SparseWeight, SReLU, link_penalty


def literal(x, t_r, a_r, t_l, a_l):
    if x >= t_r:
        return t_r + a_r * (x - t_r)
    if x <= t_l:
        return t_l + a_l * (x - t_l)
    return x


def module_of(*rows):
    """A module with one unit per row of t_r, a_r, t_l, a_l."""
    module = SReLU(len(rows), dtype=torch.float64)
    parameters = (module.t_r, module.a_r, module.t_l, module.a_l)
    with torch.no_grad():
        for parameter, column in zip(parameters, zip(*rows, strict=True), strict=True):
            parameter.copy_(torch.tensor(column))
    return module


UNITS = [(1.0, 0.5, -1.0, 0.1), (0.4, 2.0, 0.3, -0.5), (5.0, 1.0, 0.0, 0.7), (0.0, 0.3, 0.0, 0.6)]


@pytest.mark.parametrize("shape", [(4,), (50, 4), (3, 5, 4), (0, 4)])
def test_is_the_literal_rule(shape):
    x = 3 * torch.randn(shape, dtype=torch.float64)
    expected = torch.tensor(
        [
            literal(v, *UNITS[unit])
            for row in x.reshape(-1, 4).tolist()
            for unit, v in enumerate(row)
        ],
        dtype=torch.float64,
    )
    assert_close(module_of(*UNITS)(x), expected.reshape(shape))


def test_continuous_where_the_thresholds_have_crossed():
    module = module_of((-1.0, 0.5, 2.0, 0.1))
    y = module(torch.linspace(-4, 4, 8001, dtype=torch.float64)[:, None]).squeeze(1)
    assert y.diff().abs().max() <= 0.001 * (0.5 + 0.1) + 1e-9


def test_gradcheck_in_input_and_parameters():
    module = module_of(*UNITS[:3], (-1.0, 0.5, 2.0, 0.1))
    x = torch.linspace(-4, 6.1, 44, dtype=torch.float64).reshape(11, 4).requires_grad_()

    def run(x, *parameters):
        names = [name for name, _ in module.named_parameters()]
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(run, (x, *module.parameters()))


def test_starts_as_in_the_set_experiments():
    module = SReLU(5000, generator=torch.Generator().manual_seed(1))
    assert torch.equal(module.a_r, torch.ones(5000))
    assert torch.equal(module.t_l, torch.zeros(5000))
    for parameter, most in ((module.t_r, 5), (module.a_l, 1)):
        assert parameter.min() >= 0 and parameter.max() <= most
        assert_close(parameter.mean().item(), most / 2, rtol=0.05, atol=0)
    again = SReLU(5000, generator=torch.Generator().manual_seed(1))
    assert torch.equal(module.t_r, again.t_r) and torch.equal(module.a_l, again.a_l)
    x = torch.randn(3, 5000)
    assert_close(module(x), torch.where(x > 0, x, module.a_l * x))


@pytest.mark.parametrize("shape", [(), (3,), (4, 1)])
def test_another_number_of_features_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected input of shape \[\.\.\., 4\], found"):
        SReLU(4)(torch.ones(shape))


@pytest.mark.parametrize("layer", range(4))
def test_all_relu_is_the_literal_rule(layer):
    """The first hidden layer, which the paper calls 2, folds up."""
    x = np.array([-3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 2.0])
    expected = [v if v > 0 else (-0.6 if layer % 2 == 0 else 0.6) * v for v in x]
    assert AllReLU(0.6, layer)(torch.tensor(x)).numpy() == pytest.approx(expected)


@pytest.mark.parametrize("layer", [0, 1])
def test_all_relu_has_its_gradient(layer):
    x = torch.linspace(-1, 1, 8, dtype=torch.float64, requires_grad=True)
    before = x.detach().clone()
    assert torch.autograd.gradcheck(AllReLU(0.75, layer), x)
    assert torch.autograd.gradgradcheck(AllReLU(0.75, layer), x)
    assert torch.equal(x, before)


def model_of():
    shared = SparseLinear(8, 8, density=0.4, dtype=torch.float64)
    last = nn.Linear(8, 3, dtype=torch.float64)
    return nn.Sequential(shared, nn.Tanh(), shared, last)


@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.7), (0.3, 0.7)])
def test_is_the_sum_over_links_and_nothing_else(l1, l2):
    model = model_of()
    dense = model[0].weight.to_dense().detach()
    expected = l1 * dense.abs().sum() + l2 * (dense**2).sum()
    penalty = link_penalty(model, l1=l1, l2=l2)
    assert penalty.shape == ()
    assert_close(penalty, expected)
    penalty.backward()
    values = model[0].weight.values
    assert_close(values.grad, l1 * values.detach().sign() + 2 * l2 * values.detach())
    assert all(p.grad is None for p in model.parameters() if p is not values)


def test_every_weight_of_a_recurrent_network_counts():
    network = SparseRNN(3, 20, num_layers=2, density=0.2)
    weights = [m for m in network.modules() if isinstance(m, SparseWeight)]
    assert len(weights) > 1
    expected = sum(weight.values.abs().sum() for weight in weights)
    assert_close(link_penalty(network, l1=1.0), expected)
    assert link_penalty(network).item() == 0


def test_a_parameter_of_two_weights_counts_once():
    first, second = SparseLinear(8, 8, density=0.4), SparseLinear(8, 8, density=0.4)
    second.weight.values = first.weight.values
    assert_close(
        link_penalty(nn.ModuleList([first, second]), l1=1.0), first.weight.values.abs().sum()
    )


test_what_is_no_penalty_is_refused = refusals(
    ("expected a finite l1 of at least 0, found -1.0", lambda: link_penalty(model_of(), l1=-1.0)),
    ("finite l2 of at least 0, found nan", lambda: link_penalty(model_of(), l2=float("nan"))),
    ("a model with sparse weights, found none", lambda: link_penalty(nn.Linear(3, 3), l1=1.0)),
)
