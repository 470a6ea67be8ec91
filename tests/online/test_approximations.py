"""SnAp-n, RFLO and e-prop are what their papers define, written in dense torch."""

import pytest
import torch
from contract.networks import INPUTS, UNITS, make
from online.test_exact import LANES, STEPS, assert_gradients, by_steps, data, through_time
from torch.func import functional_call, jacrev
from torch.testing import assert_close

from sparse_engine import online


def flat_step(network, x):
    """Return the step of one lane as a function of all its states and parameters as one vector."""
    shapes = {name: each.shape for name, each in network.named_parameters()}
    sizes = [shape.numel() for shape in shapes.values()]

    def step(state, theta):
        parts = zip(shapes.items(), theta.split(sizes), strict=True)
        given = {name: part.view(shape) for (name, shape), part in parts}
        hx = tuple(each.view(1, 1, -1) for each in state.split(UNITS))
        _, after = functional_call(network, given, (x.view(1, 1, -1), hx if hx[1:] else hx[0]))
        return torch.cat([each.flatten() for each in (after if hx[1:] else [after])])

    return step


def dense_snap(network, order, x, upstream):
    """Gradients of SnAp-n by its definition: ``J = mask * (dF/ds J + dF/dtheta)``."""
    theta = torch.cat([each.detach().flatten() for each in network.parameters()])
    states = len(network.states)
    links = network.weight_hh_l0.to_dense().detach() != 0
    reads = links.view(-1, UNITS, UNITS).any(0) | torch.eye(UNITS, dtype=torch.bool)
    total = torch.zeros_like(theta)
    for lane in range(x.shape[1]):
        state = torch.full((states * UNITS,), 0.1, dtype=theta.dtype)
        # What enters a unit in one step; 0.1 so that no derivative happens to be zero.
        random = torch.randn(INPUTS, dtype=theta.dtype)
        enters = jacrev(flat_step(network, random), 1)(state, theta).view(states, UNITS, -1) != 0
        reached = enters.any(0)
        for _ in range(order - 1):
            reached = (reads.double() @ reached.double()) > 0
        mask, state = reached.repeat(states, 1), torch.zeros_like(state)
        influence = torch.zeros(len(state), len(theta), dtype=theta.dtype)
        for t in range(x.shape[0]):
            step = flat_step(network, x[t, lane])
            by_state, by_theta = jacrev(step, (0, 1))(state, theta)
            influence = mask * (by_state @ influence + by_theta)
            state = step(state, theta)
            total += upstream[t, lane] @ influence[:UNITS]
    sizes = [each.numel() for each in network.parameters()]
    named = zip(network.named_parameters(), total.split(sizes), strict=True)
    return {name: part.view_as(each) for (name, each), part in named}


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("form", ["rnn", "lstm", "gru", "mgu"])
def test_snap_is_its_definition(form, order):
    network = make(form, density=0.12, generator=torch.Generator().manual_seed(9))
    rows = network.weight_hh_l0.rows() % UNITS
    assert (network.weight_hh_l0.col_indices == rows).any(), "a unit that reads itself"
    x, upstream, _ = data()
    wanted = dense_snap(network, order, x[:5], upstream[:5])
    _, found = by_steps(online.SnAp(network, order), x[:5], upstream[:5])
    assert_gradients(found, wanted)


@pytest.mark.parametrize("form", ["rnn", "lstm", "rate_rnn", "rhn, separate gates", "neural_ode"])
def test_snap_that_keeps_all_is_exact(form):
    network = make(form)
    x, upstream, resets = data()
    _, wanted = through_time(network, x, upstream, resets=resets)
    found = by_steps(online.SnAp(network, 9), x, upstream, resets)[1]
    assert_gradients(found, wanted)
    _, less = by_steps(online.SnAp(network, 1), x, upstream, resets)
    assert any((less[name] - each).abs().max() > 1e-4 for name, each in wanted.items())


@pytest.mark.parametrize("method", [online.RTRL, online.SnAp, online.RFLO, online.EProp])
def test_the_first_step_is_exact_in_a_stack(method):
    """Within a step, gradients pass between layers as in backpropagation."""
    network = make("rate_rnn", num_layers=3)
    x, upstream, _ = data()
    _, wanted = through_time(network, x[:1], upstream[:1])
    found = by_steps(method(network), x[:1], upstream[:1])[1]
    assert not found["weight_hh_l0.values"].any() and found["weight_ih_l2.values"].any()
    assert_close(found, wanted)


def test_rflo_is_murrays_equation():
    """``p_ab <- (1 - a) p_ab + a f'(u_a) h_b`` and ``dw_ab = error_a p_ab``, here f in v."""
    network = make("rate_rnn", nonlinearity="tanh", tau=0.5, dt=0.1, density=0.3)
    x, upstream, _ = data()
    weight, leak = network.weight_hh_l0, 0.2
    dense, rows, columns = weight.to_dense().detach(), weight.rows(), weight.col_indices.long()
    wanted = torch.zeros(weight.nnz, dtype=torch.float64)
    for lane in range(LANES):
        v = torch.zeros(UNITS, dtype=torch.float64)
        p = torch.zeros_like(wanted)
        for t in range(STEPS):
            rate = v.tanh()
            p = (1 - leak) * p + leak * rate[columns]
            sums = dense @ rate + network.weight_ih_l0 @ x[t, lane] + network.bias_l0
            v = ((1 - leak) * v + leak * sums).detach()
            wanted += upstream[t, lane][rows] * p
    for method in (online.RFLO, online.EProp):
        _, found = by_steps(method(network), x, upstream)
        assert_close(found["weight_hh_l0.values"], wanted)


def test_rflo_is_snap_for_leaky_units_that_do_not_read_themselves():
    network = make("ctrnn", density=0.1, unfolds=1, tau=0.5)
    weight = network.weight_hh_l0
    with torch.no_grad():
        weight.values[weight.rows() == weight.col_indices] = 0
    x, upstream, _ = data()
    wanted = by_steps(online.SnAp(network), x, upstream)[1]
    assert_gradients(by_steps(online.RFLO(network), x, upstream)[1], wanted)


def test_eprop_of_an_lstm_is_bellecs_equation():
    """``e_c <- f e_c + dc/du source`` for i, f, g; that of o has no memory."""
    network = make("lstm", density=0.2)
    x, upstream, _ = data()
    weight = network.weight_hh_l0
    dense, rows, columns = weight.to_dense().detach(), weight.rows(), weight.col_indices.long()
    gate, unit = rows // UNITS, rows % UNITS
    wanted = torch.zeros(weight.nnz, dtype=torch.float64)
    bias = (network.bias_ih_l0 + network.bias_hh_l0).detach()
    for lane in range(LANES):
        h = c = torch.zeros(UNITS, dtype=torch.float64)
        e = torch.zeros_like(wanted)
        for t in range(STEPS):
            u = dense @ h + network.weight_ih_l0.detach() @ x[t, lane] + bias
            i, f, o = (u.view(4, -1)[k].sigmoid() for k in (0, 1, 3))
            g, before = u.view(4, -1)[2].tanh(), c
            c = f * c + i * g
            slopes = torch.stack([i * (1 - i) * g, f * (1 - f) * before, i * (1 - g * g), 0 * c])
            e = f[unit] * e + slopes[gate, unit] * h[columns]
            now = (o * (1 - o) * c.tanh())[unit] * h[columns] * (gate == 3)
            h = o * c.tanh()
            wanted += upstream[t, lane][unit] * ((o * (1 - c.tanh() ** 2))[unit] * e + now)
    _, found = by_steps(online.EProp(network), x, upstream)
    assert_close(found["weight_hh_l0.values"], wanted)


def test_rflo_of_several_states_is_refused():
    with pytest.raises(ValueError, match=r"one state .*'h0', 'c0'.*EProp"):
        online.RFLO(make("lstm"))


@pytest.mark.parametrize("order", [0, -1, 1.5, True])
def test_an_order_is_a_positive_integer(order):
    with pytest.raises((TypeError, ValueError), match="order"):
        online.SnAp(make("rnn"), order)
