"""Units in continuous time: closed forms, noise, and what groups of units share."""

import pytest
import torch
from testing import refusals
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseCTRNN, SparseRateRNN

UNITS = 14


def make(**options):
    options = {"density": 0.3, "dtype": torch.float64} | options
    return SparseRateRNN(3, UNITS, generator=torch.Generator().manual_seed(2), **options)


def by_hand(network, x, v, spans):
    """The Euler-Maruyama method, with noise from torch's generator."""
    tau, states = network.tau(), []
    function = getattr(nn.functional, network.nonlinearity)
    for held, span in zip(x @ network.weight_ih_l0.T + network.bias_l0, spans, strict=True):
        dt = span[:, None] / network.unfolds
        for _ in range(network.unfolds):
            field = held - v + function(v) @ network.weight_hh_l0.to_dense().T
            noise = network.sigma * (2 * dt / tau).sqrt() * torch.randn_like(v)
            v = v + dt / tau * field + noise
        states.append(v)
    return torch.stack(states)


def gradients(network, run, *leaves):
    """Results of a run, and the gradients of its leaves and of all parameters."""
    own = [each.clone().requires_grad_() for each in leaves]
    torch.manual_seed(5)
    v = run(*own)
    return v, *torch.autograd.grad((v * v.cos()).sum(), [*own, *network.parameters()])


@pytest.mark.parametrize("nonlinearity", ["relu", "tanh", "softplus", "sigmoid"])
@pytest.mark.parametrize("unfolds", [1, 3])
def test_every_step_has_noise_of_its_own(nonlinearity, unfolds):
    network = make(nonlinearity=nonlinearity, unfolds=unfolds, sigma=0.4, trainable_tau=True)
    leaves = (
        torch.randn(5, 4, 3).double(),
        torch.randn(4, UNITS).double(),
        torch.rand(5, 4).double(),
    )

    def native(x, v0, spans):
        return network(x, v0[None], timespans=spans)[0]

    def reference(x, v0, spans):
        return by_hand(network, x, v0, spans)

    found, wanted = (gradients(network, run, *leaves) for run in (native, reference))
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_step_without_time_changes_nothing():
    network, v0 = make(sigma=0.5, unfolds=2), torch.randn(1, 2, UNITS).double()
    spans = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    v, _ = network(torch.randn(4, 2, 3).double(), v0, timespans=spans)
    assert torch.equal(v, v0.expand(4, -1, -1))
    v.sum().backward()
    assert all(each.grad.isfinite().all() for each in (spans, *network.parameters()))


def test_noise_for_any_number_of_threads(assert_same_bits):
    network = SparseRateRNN(3, 300, density=0.3, input_density=0.5, sigma=0.5)
    x = torch.randn(4, 20, 3)

    def run():
        torch.manual_seed(1)
        return {"v": network(x)[0]}

    assert_same_bits(run)


def test_noise_is_there_in_evaluation_and_goes_with_sigma():
    network, x = make(sigma=0.5).eval(), torch.randn(6, 3, 3).double()
    assert not torch.equal(network(x)[0], network(x)[0])
    network.sigma = 0.0
    before = torch.get_rng_state()
    assert torch.equal(network(x)[0], network(x)[0])
    assert torch.equal(before, torch.get_rng_state())


def test_rewiring_by_gradient_sees_the_noise_that_the_network_has():
    network, x = make(sigma=0.5), torch.randn(5, 3, 3).double()
    torch.manual_seed(1)
    wanted, _ = network(x)
    network.weight_hh_l0.captured = [[]]
    torch.manual_seed(1)
    assert_close(network(x)[0], wanted)


def test_layers_read_rates():
    """And a readout does by `rates`."""
    network = make(nonlinearity="softplus", num_layers=2, bias=False, dt=0.5)
    first = make(nonlinearity="softplus", bias=False, dt=0.5)
    first.load_state_dict({k: v for k, v in network.state_dict().items() if "l0" in k})
    x = torch.randn(1, 4, 3, dtype=torch.float64)
    rates = first.rates(first(x)[0])
    assert_close(rates, nn.functional.softplus(first(x)[0]))
    assert_close(
        network(x)[0], 0.5 * rates @ network.weight_ih_l1.to_dense().T + recurrent(network)
    )


def recurrent(network):
    """Contribution of the units of the second layer to themselves in the first step from v = 0."""
    zeros = torch.zeros(UNITS, dtype=torch.float64)
    return 0.5 * nn.functional.softplus(zeros) @ network.weight_hh_l1.to_dense().T


GROUPS = [0, 1, 1, 2] * 3 + [2, 2]


@pytest.mark.parametrize("kind", [SparseCTRNN, SparseRateRNN])
def test_a_group_shares_its_parameters(kind):
    """The gradient of what is shared is the sum over those that share it."""
    options = {"density": 0.3, "trainable_tau": True, "dtype": torch.float64}
    groups = torch.tensor(GROUPS)
    shared = kind(3, UNITS, tau=torch.tensor([0.5, 1.0, 2.0]), groups=GROUPS, **options)
    each = kind(3, UNITS, tau=shared.tau().detach(), **options)
    state = {k: v for k, v in shared.state_dict().items() if k != "groups"}
    for name, value in state.items():
        if value.shape == (3,):
            state[name] = value[groups]
    each.load_state_dict(state)
    assert torch.equal(shared.tau(), each.tau())
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    for network in (shared, each):
        (network(x)[0] ** 2).sum().backward()
    for name, parameter in shared.named_parameters():
        wanted = each.get_parameter(name).grad
        if parameter.shape == (3,):
            wanted = torch.zeros(3).double().index_add(0, groups, wanted)
        assert_close(parameter.grad, wanted)


test_groups_that_are_none = refusals(
    (r"shape \[14\] and dtype int64, found \[14\] and f", lambda: make(groups=torch.zeros(UNITS))),
    (r"shape \[14\] and dtype int64, found \[2\]", lambda: make(groups=[0, 1])),
    (r"numbered from 0 without gaps, found \[0, 2\]", lambda: make(groups=[0, 2] * 7)),
    (r"numbered from 0 without gaps, found \[-1, 0\]", lambda: make(groups=[-1, 0] * 7)),
)


def test_groups_are_saved():
    network = make(groups=GROUPS, tau=torch.tensor([0.5, 1.0, 2.0]))
    other = make(groups=GROUPS[::-1])
    state = network.state_dict()
    other.load_state_dict(state)
    assert torch.equal(other.groups, torch.tensor(GROUPS))


def test_the_published_steps_of_a_network_in_continuous_time():
    """By default six times 0.8 h + 0.1 tanh for tau = 0.5, as in the networks of Zhang et al."""
    network = SparseCTRNN(3, UNITS, density=0.3, tau=0.5, dtype=torch.float64)
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        w_in, w_rec = network.weight_ih_l0.T, network.weight_hh_l0.to_dense().T
        bias, h = network.bias_ih_l0 + network.bias_hh_l0, torch.zeros(4, UNITS).double()
        for step in x:
            for _ in range(6):
                h = 0.8 * h + 0.1 * torch.tanh(step @ w_in + h @ w_rec + bias)
        assert_close(network(x)[1][0], h, rtol=1e-10, atol=1e-10)
