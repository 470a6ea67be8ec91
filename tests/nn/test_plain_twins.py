"""Cells without a counterpart in torch against networks in plain torch, from the equations."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseLinear, SparseMGU, SparseONLSTM, SparseRHN, SparseWeight
from sparse_engine.testing import assert_valid, leaves_of
from sparse_engine.topology import SET
from sparse_engine.topology.methods import RigL

NETWORKS = {
    "rhn": partial(SparseRHN, recurrence_depth=3),
    "on_lstm": partial(SparseONLSTM, chunk_size=3),
    "mgu": SparseMGU,
}
CELLS = pytest.mark.parametrize("cell", NETWORKS)
OF_ALL = {
    "plain": {},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "batch first": {"batch_first": True, "num_layers": 2},
    "no bias": {"bias": False, "num_layers": 2},
    "sparse input both ways": {"input_density": 0.5, "num_layers": 2, "bidirectional": True},
    "almost no links": {"density": 0.01, "input_density": 0.01},
    "all links": {"density": 1.0},
}
OF_ONE = {
    "rhn": {"separate gates": {"coupled": False}, "one level": {"recurrence_depth": 1}},
    "on_lstm": {"masters of their own": {"chunk_size": 1}, "one chunk": {"chunk_size": 21}},
    "mgu": {},
}
VARIANTS = [
    pytest.param(cell, options, id=f"{cell}, {name}")
    for cell, own in OF_ONE.items()
    for name, options in (OF_ALL | own).items()
]


def make(cell, dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(4)
    options = {"density": 0.3, "dtype": dtype, "generator": generator} | options
    return NETWORKS[cell](6, 21, **options)


def rhn_step(network, weight, x, s, mask):
    """One step of a layer whose weights are ``weight(kind)``."""
    for level in range(network.recurrence_depth):
        u = (s if mask is None else s * mask) @ weight(f"weight_hh.{level}").T
        u = u + x @ weight("weight_ih").T if level == 0 else u
        u = u + weight("bias_hh")[level] if network.bias else u
        blocks = u.split(network.hidden_size, -1)
        h, t = blocks[0].tanh(), blocks[1].sigmoid()
        s = h * t + s * (1 - t if network.coupled else blocks[2].sigmoid())
    return s, s


def on_lstm_step(network, weight, x, h, c):
    """The same, for the ordered-neurons LSTM."""
    u = x @ weight("weight_ih").T + h @ weight("weight_hh").T
    u = u + weight("bias_ih") + weight("bias_hh") if network.bias else u
    chunks = network.hidden_size // network.chunk_size
    masters, gates = u[..., : 2 * chunks].chunk(2, -1), u[..., 2 * chunks :].chunk(4, -1)
    master_i, master_f = (torch.softmax(each, -1).cumsum(-1) for each in masters)
    g, i, f = (gate.unflatten(-1, (chunks, network.chunk_size)) for gate in gates[1:])
    master_i, master_f = (1 - master_i)[..., None], master_f[..., None]
    both = master_f * master_i
    f = f.sigmoid() * both + (master_f - both)
    i = i.sigmoid() * both + (master_i - both)
    c = (f * c.unflatten(-1, (chunks, network.chunk_size)) + i * g.tanh()).flatten(-2)
    h = gates[0].sigmoid() * c.tanh()
    return h, h, c


def mgu_step(network, weight, x, h):
    """The same, for the minimal gated unit."""
    v, u = x @ weight("weight_ih").T, h @ weight("weight_hh").T
    if network.bias:
        v, u = v + weight("bias_ih"), u + weight("bias_hh")
    (v_f, v_n), (u_f, u_n) = v.chunk(2, -1), u.chunk(2, -1)
    f = (v_f + u_f).sigmoid()
    h = (1 - f) * h + f * (v_n + f * u_n).tanh()
    return h, h


class Plain(nn.Module):
    """The function of a network with its weights as dense matrices."""

    def __init__(self, network, mask=None):
        super().__init__()
        self.network, self.mask = network, mask
        self.dense = {}
        for name, module in network.named_modules():
            if isinstance(module, SparseWeight):
                self.dense[name] = module.to_dense().detach().requires_grad_()
        for name, parameter in network.named_parameters():
            if not name.endswith(".values"):
                self.dense[name] = parameter.detach().clone().requires_grad_()

    def layer(self, name, x, state):
        def weight(kind):
            kind, *level = kind.split(".")
            return self.dense[".".join([f"{kind}_{name}", *level])]

        outputs = []
        for step in x:
            if isinstance(self.network, SparseRHN):
                y, *state = rhn_step(self.network, weight, step, *state, self.mask)
            else:
                advance = mgu_step if isinstance(self.network, SparseMGU) else on_lstm_step
                y, *state = advance(self.network, weight, step, *state)
            outputs.append(y)
        return torch.stack(outputs), state

    def forward(self, x, *initial):
        network, single = self.network, x.dim() == 2
        x = x[:, None] if single else x.transpose(0, 1) if network.batch_first else x
        directions = ["", "_reverse"] if network.bidirectional else [""]
        zeros = x.new_zeros(network.num_layers * len(directions), x.shape[1], network.hidden_size)
        initial = [each[:, None] if single else each for each in initial]
        starts = iter(zip(*(initial or [zeros] * len(network.states)), strict=True))
        ends = []
        for layer in range(network.num_layers):
            outputs = []
            for direction in directions:
                turned = x.flip(0) if direction else x
                y, end = self.layer(f"l{layer}{direction}", turned, next(starts))
                outputs.append(y.flip(0) if direction else y)
                ends.append(end)
            x = torch.cat(outputs, 2)
        final = [torch.stack(each) for each in zip(*ends, strict=True)]
        if single:
            return x[:, 0], *(each[:, 0] for each in final)
        return x.transpose(0, 1) if network.batch_first else x, *final


def flat(network, x, *state):
    """The results of a network that takes and returns its states one by one."""
    if isinstance(network, Plain):
        return network(x, *state)
    y, last = network(x, *(state if len(state) < 2 else (state,)))
    return y, *(last if isinstance(last, tuple) else (last,))


def check_like(network, plain, leaves, bound):
    """Results and all gradients."""
    close = {"rtol": bound, "atol": bound}
    results, upstream = [], None
    for model in (network, plain):
        own = [leaf.clone().requires_grad_() for leaf in leaves]
        y = flat(model, *own)
        upstream = upstream or [torch.randn_like(each) for each in y]
        torch.autograd.backward(y, upstream)
        results.append([*y, *(leaf.grad for leaf in own)])
    for one, other in zip(*results, strict=True):
        assert_close(one, other, **close)
    for name, parameter in network.named_parameters():
        weight = name.removesuffix(".values")
        expected = plain.dense[weight].grad
        if weight != name:
            module = network.get_submodule(weight)
            expected = expected[module.rows(), module.col_indices.long()]
        assert_close(parameter.grad, expected, **close, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize(("cell", "options"), VARIANTS)
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("batch", [1, 5, None])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_the_plain_network(cell, options, initial, batch, dtype):
    network = make(cell, dtype, **options)
    bound = 1e-10 if dtype == torch.float64 else 2e-5
    check_like(network, Plain(network), leaves_of(network, 7, batch, initial=initial), bound)


@pytest.mark.parametrize("coupled", [True, False])
def test_one_mask_drops_the_recurrent_state_of_a_sequence(coupled):
    network = make("rhn", coupled=coupled, recurrent_dropout=0.4)
    leaves = leaves_of(network, 7, 5)
    torch.manual_seed(1)
    mask = nn.functional.dropout(torch.ones(5, 21, dtype=torch.float64), 0.4)
    assert 0 < (mask == 0).sum() < mask.numel()
    plain = Plain(network, mask)
    torch.manual_seed(1)
    check_like(network, plain, leaves, 1e-10)
    assert not torch.equal(network(*leaves)[0], network(*leaves)[0])
    network.eval()
    assert_close(network(*leaves), Plain(network)(*leaves), rtol=1e-12, atol=1e-12)


@CELLS
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_checkpoints_change_no_result(cell, options):
    options = options | ({"recurrent_dropout": 0.4} if cell == "rhn" else {})
    network = make(cell, **options)
    leaves, results = leaves_of(network, 7, 5), []
    for every in (None, 3):
        network.checkpoint_every = every
        network.zero_grad()
        torch.manual_seed(1)
        y = flat(network, *leaves)
        sum(each.square().sum() for each in y).backward()
        results.append([*y, *(parameter.grad.clone() for parameter in network.parameters())])
    for one, other in zip(*results, strict=True):
        assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_names_and_shapes_of_levels():
    network = make("rhn", num_layers=2, bidirectional=True, coupled=False)
    shapes = {name: [*p.shape] for name, p in network.named_parameters() if "values" not in name}
    assert shapes["weight_ih_l0_reverse"] == [63, 6]
    assert shapes["bias_hh_l1"] == [3, 63]
    assert len(shapes) == 6
    assert [weight.shape for weight in network.weight_hh_l1_reverse] == [(63, 21)] * 3
    assert network.weight_ih_l1.shape == (63, 42)
    assert "weight_hh_l0.2.values" in dict(network.named_parameters())
    assert "recurrence_depth=3, coupled=False, recurrent_dropout=0.0" in repr(network)


def test_shapes_of_master_gates():
    network = make("on_lstm", num_layers=2)
    assert network.rows == 2 * 7 + 4 * 21
    assert network.weight_hh_l1.shape == network.weight_ih_l1.shape == (98, 21)
    assert network.weight_ih_l0.shape == (98, 6) and network.bias_hh_l0.shape == (98,)
    assert "chunk_size=3" in repr(network)


@CELLS
def test_empty_batch(cell):
    network = make(cell, num_layers=2, bidirectional=True)
    y, *final = flat(network, *leaves_of(network, 4, 0))
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
    state = between
    for each in x[5:]:
        y, state = network.step(each, state)
    assert_close(y, whole[-1], rtol=1e-14, atol=1e-14)


@CELLS
@pytest.mark.parametrize("input_density", [1.0, 0.5])
@pytest.mark.parametrize("dropped", [0.0, 0.4])
def test_factors_are_those_of_the_dense_gradient(cell, input_density, dropped):
    options = {"recurrent_dropout": dropped} if cell == "rhn" else {}
    network = make(cell, input_density=input_density, **options)
    for module in network.modules():
        if isinstance(module, SparseWeight):
            module.factors = [[]]
    leaves = leaves_of(network, 4, 3)
    torch.manual_seed(1)
    mask = nn.functional.dropout(torch.ones(3, 21, dtype=torch.float64), dropped)
    plain = Plain(network, mask)
    torch.manual_seed(1)
    for model in (network, plain):
        sum(result.square().sum() for result in flat(model, *leaves)).backward()
    for name, module in network.named_modules():
        if isinstance(module, SparseWeight):
            (pairs,) = module.factors
            assert_close(sum(dy.T @ x for dy, x in pairs), plain.dense[name].grad)


@CELLS
def test_nothing_is_noted_without_gradients(cell):
    network = make(cell)
    weights = [module for module in network.modules() if isinstance(module, SparseWeight)]
    weights[-1].factors = [[]]
    with torch.no_grad():
        network(leaves_of(network, 4, 3)[0])
    assert weights[-1].factors == [[]]


@CELLS
@pytest.mark.parametrize("way", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_independent(cell, way):
    network = make(cell, torch.float32)
    other, fresh = way(network), make(cell, torch.float32, density=0.2)
    fresh.load_state_dict(network.state_dict())
    x = leaves_of(network, 4, 3)[0]
    before = network(x)[0]
    SET(network, None, fraction=0.5, every=1).step()
    assert not torch.equal(network(x)[0], before)
    assert torch.equal(other(x)[0], before)
    assert torch.equal(fresh(x)[0], before)


@CELLS
@pytest.mark.parametrize("method", [SET, partial(RigL, steps=80)])
def test_learns_while_it_is_rewired(cell, method):
    options = {"recurrent_dropout": 0.1} if cell == "rhn" else {}
    recurrent = NETWORKS[cell](3, 30, density=0.2, **options)
    readout = SparseLinear(30, 2, density=0.5)
    model = nn.ModuleList([recurrent, readout])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    rewiring = method(model, optimizer, fraction=0.2, every=5)
    before = [weight.nnz for weight in rewiring.weights]
    x, target = torch.randn(8, 16, 3), torch.randn(16, 2)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = (readout(recurrent(x)[0][-1]) - target).square().mean()
        loss.backward()
        optimizer.step()
        rewiring.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]
    assert [weight.nnz for weight in rewiring.weights] == before
    for weight in rewiring.weights:
        assert weight.topology_version > 5
        assert_valid(weight)


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


@pytest.mark.parametrize(
    ("cell", "change", "message"),
    [
        ("rhn", {"recurrence_depth": 0}, "recurrence_depth of at least 1, found 0"),
        ("rhn", {"recurrent_dropout": 1.5}, r"recurrent_dropout in \[0, 1\], found 1.5"),
        ("rhn", {"density": 0}, r"density in \(0, 1\], found 0"),
        ("rhn", {"input_density": 1.5}, r"input_density in \(0, 1\], found 1.5"),
        ("rhn", {"checkpoint_every": 0}, "checkpoint_every of at least 1, found 0"),
        ("on_lstm", {"chunk_size": 4}, "chunk_size that divides hidden_size 21, found 4"),
        ("on_lstm", {"chunk_size": 0}, "chunk_size of at least 1, found 0"),
        ("on_lstm", {"num_layers": 0}, "num_layers of at least 1, found 0"),
    ],
)
def test_arguments_are_checked(cell, change, message):
    with pytest.raises(ValueError, match=message):
        make(cell, **change)


def test_states_of_the_wrong_shape():
    x, good, bad = torch.randn(4, 3, 6), torch.randn(1, 3, 21), torch.randn(1, 2, 21)
    with pytest.raises(ValueError, match=r"h0 of shape \[1, 3, 21\], found \[1, 2, 21\]"):
        make("rhn", torch.float32)(x, bad)
    with pytest.raises(ValueError, match=r"c0 of shape \[1, 3, 21\], found \[1, 2, 21\]"):
        make("on_lstm", torch.float32)(x, (good, bad))
    with pytest.raises(TypeError, match=r"a pair \(h0, c0\), found Tensor"):
        make("on_lstm", torch.float32)(x, good)
