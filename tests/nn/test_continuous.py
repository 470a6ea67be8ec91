"""Networks in continuous time against loops in plain torch: results and every gradient."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import (
    RK4,
    Euler,
    Solver,
    SparseCTRNN,
    SparseNeuralODE,
    SparseRateRNN,
    SparseWeight,
)
from sparse_engine.topology import SET, RigL

NETWORKS = {
    "ctrnn": partial(SparseCTRNN, tau=0.5),
    "own time constants": partial(SparseCTRNN, tau=torch.linspace(0.3, 2, 21), trainable_tau=True),
    "clipped": partial(SparseCTRNN, cell_clip=0.3, unfolds=3),
    "neural ode": partial(SparseNeuralODE, dt=0.2, unfolds=2),
    "euler": partial(SparseNeuralODE, dt=0.2, unfolds=3, solver=Euler()),
    "rates": partial(SparseRateRNN, nonlinearity="softplus", tau=0.5, unfolds=3),
    "rates of groups": partial(
        SparseRateRNN,
        nonlinearity="sigmoid",
        tau=torch.tensor([0.3, 1.0, 2.0]),
        trainable_tau=True,
        groups=torch.arange(21) % 3,
    ),
}
KINDS = pytest.mark.parametrize("kind", NETWORKS)
VARIANTS = {
    "plain": {},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "batch first": {"batch_first": True, "num_layers": 2},
    "no bias": {"bias": False, "num_layers": 2},
    "sparse input": {"input_density": 0.5},
    "almost no links": {"density": 0.01, "input_density": 0.01},
    "all links": {"density": 1.0},
}


def make(kind, dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(4)
    options = {"density": 0.3, "dtype": dtype, "generator": generator} | options
    return NETWORKS[kind](6, 21, **options)


def inputs(network, steps, batch, *, initial=True):
    dtype = network.weight_hh_l0.dtype
    of_batch = () if batch is None else (batch,)
    shape = (steps, *of_batch, 6)
    if network.batch_first and batch is not None:
        shape = (batch, steps, 6)
    layers = network.num_layers * (2 if network.bidirectional else 1)
    h0 = torch.randn(layers, *of_batch, 21, dtype=dtype)
    return [torch.randn(shape, dtype=dtype), *([h0] if initial else [])]


class Slow(nn.Module):
    """The same network from its equations, on dense weights."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, h0=None, *, timespans=None):
        net = self.network
        single = x.dim() == 2
        x = x.unsqueeze(1) if single else x.transpose(0, 1) if net.batch_first else x
        spans = torch.full(x.shape[:2], net.dt * net.unfolds, dtype=x.dtype)
        if timespans is not None:
            if timespans.dim() == 1:
                timespans = timespans[:, None]
            elif net.batch_first:
                timespans = timespans.T
            spans = timespans.expand(x.shape[:2])
        ends = []
        for layer in range(net.num_layers):
            outputs = []
            for suffix in ("", "_reverse")[: 1 + net.bidirectional]:
                start = None if h0 is None else h0[len(ends)]
                if single and h0 is not None:
                    start = start[None]
                name = f"l{layer}{suffix}"
                order = (lambda y: y.flip(0)) if suffix else (lambda y: y)
                states = self.direction(name, order(x), start, order(spans))
                ends.append(states[-1])
                outputs.append(order(states))
            x = torch.cat(outputs, -1)
            if isinstance(net, SparseRateRNN) and layer + 1 < net.num_layers:
                x = self.rates(x)
        h_n = torch.stack(ends)
        if single:
            return x.squeeze(1), h_n.squeeze(1)
        return x.transpose(0, 1) if net.batch_first else x, h_n

    def rates(self, v):
        return getattr(nn.functional, self.network.nonlinearity)(v)

    def direction(self, name, x, h, spans):
        net = self.network

        def dense(kind):
            weight = getattr(net, f"{kind}_{name}", 0.0)
            return weight.to_dense() if isinstance(weight, SparseWeight) else weight

        w_in, w_rec = dense("weight_ih"), dense("weight_hh")
        bias = dense("bias_ih") + dense("bias_hh") + getattr(net, f"bias_{name}", 0.0)
        tau = torch.inf if isinstance(net, SparseNeuralODE) else net.tau(name)
        if getattr(net, "groups", None) is not None and net.bias:
            bias = bias[net.groups]

        def field(held, h):
            if isinstance(net, SparseRateRNN):
                return (held - h + self.rates(h) @ w_rec.T) / tau
            return torch.tanh(held + h @ w_rec.T) - h / tau

        h = x.new_zeros(x.shape[1], 21) if h is None else h
        states = []
        for held, span in zip(x @ w_in.T + bias, spans, strict=True):
            dt = span[:, None] / net.unfolds
            for _ in range(net.unfolds):
                k = field(held, h)
                if isinstance(net.solver, RK4):
                    k_2 = field(held, h + dt / 2 * k)
                    k_3 = field(held, h + dt / 2 * k_2)
                    k = (k + 2 * k_2 + 2 * k_3 + field(held, h + dt * k_3)) / 6
                h = h + dt * k
                limit = net.cell_clip if isinstance(net, SparseCTRNN) else None
                if limit is not None:
                    inside = h.abs() < limit  # at the limit it is a constant
                    h = torch.where(inside, h, limit * h.detach().sign())
            states.append(h)
        return torch.stack(states)


def check(network, leaves, bound, timespans=None):
    """Results and gradients of a network and of its slow form."""
    found = []
    torch.manual_seed(1)
    upstream = None
    for model in (network, Slow(network)):
        network.zero_grad()
        own = [leaf.clone().requires_grad_() for leaf in leaves]
        spans = None if timespans is None else timespans.clone().requires_grad_()
        results = model(*own, timespans=spans)
        upstream = upstream or [torch.randn_like(result) for result in results]
        torch.autograd.backward(results, upstream)
        grads = {name: p.grad.clone() for name, p in network.named_parameters()}
        grads |= {f"leaf {i}": leaf.grad for i, leaf in enumerate(own)}
        grads |= {f"result {i}": result.detach() for i, result in enumerate(results)}
        found.append(grads if spans is None else grads | {"timespans": spans.grad})
    for name, wanted in found[1].items():
        assert_close(
            found[0][name], wanted, rtol=bound, atol=bound, msg=lambda text, n=name: f"{n}: {text}"
        )


@KINDS
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("batch", [1, 5, None])
def test_equals_the_equations(kind, variant, initial, batch):
    network = make(kind, **VARIANTS[variant])
    check(network, inputs(network, 4, batch, initial=initial), 1e-10)


@KINDS
def test_single_precision(kind):
    if kind == "clipped":
        pytest.skip("a state that is nearly at the limit is clipped in one order of sums only")
    network = make(kind, torch.float32)
    check(network, inputs(network, 7, 5), 1e-5)


@KINDS
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bidirectional": True}])
@pytest.mark.parametrize("form", ["by step", "by step and sequence"])
@pytest.mark.parametrize("batch", [3, None])
def test_timespans(kind, options, form, batch):
    network = make(kind, **options)
    leaves = inputs(network, 5, batch)
    timespans = torch.rand(leaves[0].shape[:-1] if form != "by step" else 5).double()
    timespans.flatten()[1] = 0
    check(network, leaves, 1e-10, timespans)


def test_equal_timespans_are_those_of_dt():
    network = make("ctrnn", unfolds=4, dt=0.25)
    x, h0 = inputs(network, 5, 3)
    assert torch.equal(network(x, h0)[0], network(x, h0, timespans=torch.ones(5))[0])


def test_no_time_no_change():
    network = make("own time constants")
    x, h0 = inputs(network, 5, 3)
    y, h_n = network(x, h0, timespans=torch.zeros(5, dtype=torch.int64))
    assert torch.equal(y, h0.expand(5, -1, -1)) and torch.equal(h_n, h0)


@KINDS
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("batch", [0, 3, None])
def test_steps_take_their_time(kind, batch_first, batch):
    network = make(kind, num_layers=2, batch_first=batch_first)
    time = 1 if batch_first and batch is not None else 0
    x, h0 = inputs(network, 5, batch)
    spans = torch.rand(x.shape[:-1], dtype=torch.float64)
    found = []
    for stepwise in (True, False):
        own = [leaf.clone().requires_grad_() for leaf in (x, h0, spans)]
        if stepwise:
            state, outputs = own[1], []
            for step, span in zip(own[0].unbind(time), own[2].unbind(time), strict=True):
                y, state = network.step(step, state, timespans=span)
                outputs.append(y)
            y = torch.stack(outputs, time)
        else:
            y, state = network(own[0], own[1], timespans=own[2])
        loss = (y * y.cos()).sum() + state.sin().sum()
        found.append([y, state, *torch.autograd.grad(loss, [*own, *network.parameters()])])
    for one, other in zip(*found, strict=True):
        assert_close(one, other, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("form", [float, torch.tensor, lambda span: [span] * 3])
def test_a_step_takes_one_time_for_all_or_a_list(batch_first, form):
    network = make("own time constants", batch_first=batch_first)
    x, h0 = torch.randn(3, 6, dtype=torch.float64), torch.randn(1, 3, 21, dtype=torch.float64)
    wanted = network.step(x, h0, timespans=torch.full((3,), 0.7, dtype=torch.float64))
    # A tensor of single precision is what it holds; numbers are taken in the network's.
    close = {"rtol": 1e-6, "atol": 1e-6} if form is torch.tensor else {"rtol": 0, "atol": 0}
    assert_close(network.step(x, h0, timespans=form(0.7)), wanted, **close)
    assert_close(network.step(x, h0), network.step(x, h0, timespans=0.6), rtol=1e-14, atol=1e-14)


@KINDS
@pytest.mark.parametrize("batch", [0, 1, 4])
def test_the_final_state_continues_a_sequence(kind, batch):
    network = make(kind, num_layers=2)
    x, h0 = inputs(network, 9, batch)
    spans = torch.rand(9, batch, dtype=torch.float64)
    whole, last = network(x, h0, timespans=spans)
    first, between = network(x[:5], h0, timespans=spans[:5])
    second, end = network(x[5:], between, timespans=spans[5:])
    assert_close(torch.cat([first, second]), whole, rtol=1e-14, atol=1e-14)
    assert_close(end, last, rtol=1e-14, atol=1e-14)


@KINDS
def test_empty_batch(kind):
    network = make(kind, num_layers=2, bidirectional=True)
    y, h_n = network(*inputs(network, 4, 0))
    assert y.shape == (4, 0, 42) and h_n.shape == (4, 0, 21)
    y.sum().backward()
    for parameter in network.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


@KINDS
@pytest.mark.parametrize("initial", [False, True])
def test_factors_are_those_of_the_dense_gradient(kind, initial):
    network = make(kind, num_layers=2, bidirectional=True)
    leaves = inputs(network, 3, 4, initial=initial)
    wanted = network(*leaves)[0]
    weights = [module for module in network.modules() if isinstance(module, SparseWeight)]
    for weight in weights:
        weight.factors = [[]]
    y, h_n = network(*leaves)
    assert_close(y, wanted)
    (y.square().sum() + h_n.sum()).backward()
    for weight in weights:
        dense = sum(dy.T @ x for dy, x in weight.factors[0])
        assert_close(dense[weight.rows(), weight.col_indices.long()], weight.values.grad)
        assert dense.count_nonzero() > weight.nnz
        weight.factors = [[]]
    with torch.no_grad():
        network(*leaves)
    assert all(weight.factors == [[]] for weight in weights)


@KINDS
@pytest.mark.parametrize("method", [SET, partial(RigL, steps=100)])
def test_rewiring(kind, method):
    network = make(kind, torch.float32)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    rewiring = method(network, optimizer, every=3)
    weight = network.weight_hh_l0
    before = weight.pattern.links.cells().clone()
    for _ in range(7):
        optimizer.zero_grad()
        network(inputs(network, 4, 3)[0])[0].square().mean().backward()
        optimizer.step()
        rewiring.step()
    after = weight.pattern.links.cells()
    assert weight.topology_version == 2
    assert after.shape == before.shape and not torch.equal(after, before)


@KINDS
@pytest.mark.parametrize("way", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_independent(kind, way):
    network = make(kind, torch.float32)
    other, fresh = way(network), make(kind, torch.float32, generator=None)
    fresh.load_state_dict(network.state_dict())
    x = inputs(network, 4, 3)[0]
    before = network(x)[0]
    SET(network, None, fraction=0.5, every=1).step()
    assert not torch.equal(network(x)[0], before)
    assert torch.equal(other(x)[0], before)
    assert torch.equal(fresh(x)[0], before)


@pytest.mark.parametrize("kind", ["own time constants", "neural ode"])
def test_compiles_without_a_graph_break(kind):
    torch._dynamo.reset()
    network = make(kind, torch.float32, num_layers=2)
    (x, h0), spans = inputs(network, 4, 3), torch.rand(4)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x, h0, timespans=spans), network(x, h0, timespans=spans))
    one_step = torch.compile(network.step, fullgraph=True, backend="aot_eager")
    wanted = network.step(x[0], h0, timespans=0.3)
    assert_close(one_step(x[0], h0, timespans=0.3), wanted)
    compiled(x)[0].sum().backward()
    grads = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    network(x)[0].sum().backward()
    for one, parameter in zip(grads, network.parameters(), strict=True):
        assert_close(one, parameter.grad)


@pytest.mark.parametrize("batch_first", [True, False])
def test_compiled_for_any_number_of_steps(batch_first):
    torch._dynamo.reset()
    network = make("own time constants", torch.float32, batch_first=batch_first)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    compiled(inputs(network, 5, 3)[0])
    for steps in (4, 6):
        (x, h0), spans = inputs(network, steps, 3), torch.rand(steps)
        assert_close(compiled(x, h0, timespans=spans), network(x, h0, timespans=spans))


@pytest.mark.parametrize("trainable", [True, False])
def test_time_constants(trainable):
    tau = torch.linspace(0.5, 3, 21)
    network = SparseCTRNN(6, 21, density=0.3, tau=tau, trainable_tau=trainable, bidirectional=True)
    for layer in ("l0", "l0_reverse"):
        assert_close(network.tau(layer), tau)
        assert network.tau(layer).requires_grad == trainable
    names = [name for name, _ in network.named_parameters() if "tau" in name]
    assert names == (["log_tau_l0", "log_tau_l0_reverse"] if trainable else [])
    other = SparseCTRNN(6, 21, density=0.3, trainable_tau=trainable, bidirectional=True)
    other.load_state_dict(network.state_dict())
    assert_close(other.tau("l0_reverse"), tau)


def test_time_constants_are_learned():
    """From the decay of a state without any links or input."""
    network = SparseCTRNN(1, 3, density=0.1, trainable_tau=True, bias=False, dt=0.05)
    for parameter in (network.weight_ih_l0, network.weight_hh_l0.values):
        nn.init.zeros_(parameter.requires_grad_(False))
    tau = torch.tensor([0.5, 1.0, 4.0])
    x, h0 = torch.zeros(10, 1, 1), torch.ones(1, 1, 3)
    wanted = (1 - 0.05 / tau) ** (6 * torch.arange(1, 11)[:, None])
    optimizer = torch.optim.Adam([network.log_tau_l0], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (network(x, h0)[0][:, 0] - wanted).square().sum().backward()
        optimizer.step()
    assert_close(network.tau(), tau, rtol=1e-2, atol=0)


@pytest.mark.parametrize("cell", [SparseCTRNN, SparseNeuralODE])
def test_print(cell):
    text = str(cell(3, 4, density=0.5))
    assert "unfolds=6" in text and "dt=" in text
    assert "solver=RK4()" in text or "trainable_tau=False" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unfolds": 0}, "expected unfolds of at least 1, found 0"),
        ({"dt": 0.0}, "expected finite dt > 0, found 0.0"),
        ({"dt": float("inf")}, "expected finite dt > 0, found inf"),
        ({"tau": 0.0}, "expected finite tau > 0, found 0.0"),
        ({"tau": torch.tensor([1.0, -2.0, 3.0, 1.0])}, "expected finite tau > 0, found -2.0"),
        ({"tau": float("inf")}, "expected finite tau > 0, found inf"),
        ({"tau": torch.ones(3)}, r"expected tau of shape \[4\], found \[3\]"),
        ({"cell_clip": 0.0}, "expected cell_clip > 0, found 0.0"),
        ({"density": 0.0}, r"expected density in \(0, 1\], found 0.0"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        SparseCTRNN(3, 4, **({"density": 0.5} | options))


def check_refused(timespans, message):
    network = make("ctrnn")
    with pytest.raises(ValueError, match=message):
        network(inputs(network, 4, 3)[0], timespans=timespans)


@pytest.mark.parametrize(
    ("timespans", "message"),
    [
        (torch.ones(5), r"timespans of shape \[4\] or \[4, 3\], found \[5\]"),
        (torch.ones(3, 4), r"timespans of shape \[4\] or \[4, 3\], found \[3, 4\]"),
        (torch.tensor(1.0), r"timespans of shape \[4\] or \[4, 3\], found \[\]"),
    ],
)
def test_timespans_are_checked(timespans, message):
    check_refused(timespans, message)


@pytest.mark.cpu
@pytest.mark.parametrize(
    ("timespans", "message"),
    [
        (torch.tensor([1.0, 1, -6, 1]), r"timespans / unfolds.*at least 0, found -1 at step 2"),
        (torch.tensor([1.0, 1, 1, torch.nan]), "finite and at least 0, found nan at step 3"),
    ],
)
def test_numbers_of_timespans_are_checked(timespans, message):
    check_refused(timespans, message)


@pytest.mark.parametrize(
    ("timespans", "message"),
    [
        (torch.ones(4), r"timespans of shape \[\] or \[3\], found \[4\]"),
        (torch.ones(1, 3), r"timespans of shape \[\] or \[3\], found \[1, 3\]"),
        ([1.0], r"timespans of shape \[\] or \[3\], found \[1\]"),
        (-6.0, r"timespans / unfolds.*at least 0, found -1 at step 0"),
        ([1.0, float("nan"), 1.0], "finite and at least 0, found nan at step 0"),
    ],
)
def test_timespans_of_a_step_are_checked(timespans, message):
    network = make("ctrnn")
    with pytest.raises(ValueError, match=message):
        network.step(torch.randn(3, 6, dtype=torch.float64), timespans=timespans)


def test_steps_are_checked():
    network = make("ctrnn")
    with pytest.raises(ValueError, match=r"timespans of shape \[\], found \[1\]"):
        network.step(torch.randn(6, dtype=torch.float64), timespans=torch.ones(1))
    with pytest.raises(ValueError, match=r"expected input of shape \[batch, 6\] or \[6\]"):
        network.step(torch.randn(2, 3, 6, dtype=torch.float64), timespans=torch.ones(3))
    with pytest.raises(ValueError, match="one direction"):
        make("ctrnn", bidirectional=True).step(torch.randn(6).double(), timespans=1.0)


def test_inputs_are_checked():
    network = make("neural ode")
    for x in (torch.randn(4, 3, 5), torch.randn(6), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="expected input of shape"):
            network(x.double(), timespans=torch.ones(4))
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 6), torch.randn(2, 6)])
    with pytest.raises(TypeError, match="PackedSequence"):
        network(packed)
    with pytest.raises(ValueError, match=r"h0 of shape \[1, 3, 21\], found \[1, 2, 21\]"):
        network(torch.randn(4, 3, 6).double(), torch.randn(1, 2, 21).double())


def test_a_solver_of_ones_own():
    class Midpoint(Solver):
        nodes = (0.0, 0.5)
        weights = (0.0, 1.0)

    coarse = make("neural ode", solver=Midpoint())
    fine = make("neural ode", unfolds=200, dt=0.002)
    x = inputs(coarse, 3, 2)[0]
    assert_close(coarse(x), fine(x), rtol=1e-2, atol=1e-2)
    assert "solver=Midpoint()" in str(coarse)
    rough = make("neural ode", solver=Euler())
    assert (rough(x)[0] - fine(x)[0]).norm() > 3 * (coarse(x)[0] - fine(x)[0]).norm()
