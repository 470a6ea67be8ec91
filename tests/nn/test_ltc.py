"""SparseLTC against the equations, written with dense matrices in plain torch."""

import copy
import pickle

import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import ConductanceWeight, SparseLTC
from sparse_engine.testing import leaves_of
from sparse_engine.topology import SET

INPUTS, UNITS = 6, 21
VARIANTS = {
    "plain": {},
    "one unfold": {"unfolds": 1},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "batch first": {"batch_first": True, "num_layers": 2},
    "sparse input both ways": {"input_density": 0.5, "bidirectional": True, "unfolds": 3},
    "almost no links": {"density": 0.01, "input_density": 0.01},
    "all links": {"density": 1.0},
}


def make(dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(4)
    options = {"density": 0.3, "dtype": dtype, "generator": generator} | options
    return SparseLTC(INPUTS, UNITS, **options)


def opened(weight, v):
    """The sums of g * erev and of g over the sources, as the seed writes them."""
    at = weight.rows(), weight.col_indices.long()
    mask = torch.zeros(weight.shape, dtype=torch.bool).index_put(at, torch.tensor(True))
    w, mu, sigma, erev = (
        torch.zeros(weight.shape, dtype=weight.dtype).index_put(at, each)
        for each in (weight.values, weight.mu, weight.sigma, weight.erev)
    )
    g = torch.where(mask, w / (1 + torch.exp(-sigma * (v[..., None, :] - mu))), 0)
    return (g * erev).sum(-1), g.sum(-1)


def by_the_equations(network, x, h0=None):
    """The slow twin of a network: the last layer's outputs, and all final potentials."""
    if network.batch_first:
        x = x.transpose(0, 1)
    suffixes = ["", "_reverse"] if network.bidirectional else [""]
    ends = []
    for layer in range(network.num_layers):
        outputs = []
        for suffix in suffixes:
            own = {
                name: getattr(network, f"{name}_l{layer}{suffix}")
                for name in ("weight_ih", "weight_hh", "input_w", "input_b", "gleak", "vleak", "cm")
            }
            steps = x.flip(0) if suffix else x
            v = x.new_zeros(x.shape[1], UNITS) if h0 is None else h0[len(ends)]
            states = []
            for step in steps * own["input_w"] + own["input_b"]:
                s_num, s_den = opened(own["weight_ih"], step)
                for _ in range(network.unfolds):
                    num, den = opened(own["weight_hh"], v)
                    num = own["cm"] * v + own["gleak"] * own["vleak"] + num + s_num
                    v = num / (own["cm"] + own["gleak"] + den + s_den)
                states.append(v)
            ends.append(v)
            output = torch.stack(states)
            outputs.append(output.flip(0) if suffix else output)
        x = torch.cat(outputs, 2)
    return x.transpose(0, 1) if network.batch_first else x, torch.stack(ends)


def gradients(run, network, leaves, upstream):
    """Results, and the gradients of the leaves and of all parameters."""
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    parameters = [*network.parameters()]
    found = run(*leaves)
    grads = torch.autograd.grad(found, [*leaves, *parameters], upstream, materialize_grads=True)
    return [*found, *grads]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_the_equations(variant, initial, batch, dtype):
    network = make(dtype, **VARIANTS[variant])
    leaves = leaves_of(network, 4, batch, initial=initial)
    upstream = [torch.randn_like(result) for result in network(*leaves)]
    found = gradients(network, network, leaves, upstream)
    exact = copy.deepcopy(network).double()
    wanted = gradients(
        lambda *leaves: by_the_equations(exact, *leaves),
        exact,
        [leaf.double() for leaf in leaves],
        [each.double() for each in upstream],
    )
    bound = 1e-10 if dtype == torch.float64 else 1e-5
    for one, other in zip(found, wanted, strict=True):
        scale = other.abs().max().clamp(min=1)
        assert_close(one.double() / scale, other / scale, rtol=0, atol=bound)


@pytest.mark.parametrize("initial", [False, True])
def test_a_single_sequence(initial):
    network = make(num_layers=2, bidirectional=True)
    x, *state = leaves_of(network, 5, None, initial=initial)
    y, h_n = network(x, *state)
    batched, last = network(x[:, None], *(each[:, None] for each in state))
    assert torch.equal(y, batched[:, 0]) and torch.equal(h_n, last[:, 0])


def test_the_final_state_continues_a_sequence():
    network = make(num_layers=2)
    x = leaves_of(network, 9, 4)[0]
    whole, last = network(x)
    first, between = network(x[:5])
    second, end = network(x[5:], between)
    assert torch.equal(torch.cat([first, second]), whole) and torch.equal(end, last)


def test_fresh_parameters():
    network = SparseLTC(7, 200, density=0.5)
    weight, sensory = network.weight_hh_l0, network.weight_ih_l0
    assert weight.nnz == 20_000 and sensory.nnz == 7 * 200
    for name, low, high in (("values", 0.01, 1), ("mu", 0.3, 0.8), ("sigma", 3, 8)):
        entries = getattr(weight, name)
        assert low <= entries.min() < low + 0.01 * high and high - 0.01 * high < entries.max()
        assert entries.max() <= high
    assert set(weight.erev.tolist()) == {-1.0, 1.0} and abs(weight.erev.mean()) < 0.05
    assert -0.2 <= network.vleak_l0.min() < -0.15 and 0.15 < network.vleak_l0.max() <= 0.2
    for name, entry in {"gleak": 1, "cm": 0.5, "input_w": 1, "input_b": 0}.items():
        assert (getattr(network, f"{name}_l0") == entry).all()
    one, other = (
        SparseLTC(7, 20, density=0.5, generator=torch.Generator().manual_seed(3)) for _ in "ab"
    )
    for name, entry in one.state_dict().items():
        assert torch.equal(entry, other.state_dict()[name]), name


def test_clipping():
    network = make(num_layers=2, bidirectional=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e6)
    optimizer.register_step_post_hook(lambda *_: network.clip_())
    network(*leaves_of(network, 3, 2))[0].sum().backward()
    mu, sigma = network.weight_hh_l0.mu.detach().clone(), network.weight_hh_l0.sigma
    optimizer.step()
    ranges = {"cm": (1e-6, 1e3), "gleak": (1e-5, 1e3), "values": (0, 1e3)}
    for name, parameter in network.named_parameters():
        kind = name.split("_")[0] if "values" not in name else "values"
        if kind in ranges:
            low, high = ranges[kind]
            assert low <= parameter.min() and parameter.max() <= high, name
    values = network.weight_hh_l0.values
    assert (values == 0).any() and (values == 1e3).any()
    assert not torch.equal(mu, network.weight_hh_l0.mu) and (sigma.abs() > 1e3).any()


def test_learns():
    network, readout = SparseLTC(3, 30, density=0.2), nn.Linear(30, 2)
    optimizer = torch.optim.Adam([*network.parameters(), *readout.parameters()], lr=0.02)
    optimizer.register_step_post_hook(lambda *_: network.clip_())
    rewiring = SET(network, optimizer, every=20)
    x, target = torch.randn(8, 16, 3), torch.randn(16, 2)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = (readout(network(x)[0][-1]) - target).square().mean()
        loss.backward()
        optimizer.step()
        rewiring.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def through_safetensors(network):
    other = make(torch.float32, generator=None)
    other.load_state_dict(load(save(network.state_dict())))
    return other


COPIES = [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module)), through_safetensors]


@pytest.mark.parametrize("way", COPIES)
def test_copies_are_complete_and_independent(way):
    network = make(torch.float32)
    x = leaves_of(network, 4, 3)[0]
    other, before = way(network), network(x)[0]
    assert torch.equal(other(x)[0], before)
    SET(network, None, fraction=0.5, every=1).step()
    assert not torch.equal(network(x)[0], before)
    assert torch.equal(other(x)[0], before)


def test_empty_batch():
    network = make(num_layers=2, bidirectional=True)
    y, h_n = network(*leaves_of(network, 4, 0))
    assert y.shape == (4, 0, 42) and h_n.shape == (4, 0, 21)
    y.sum().backward()
    for parameter in network.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


def test_compiles_without_a_graph_break():
    network = make(torch.float32, num_layers=2)
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
    ("options", "message"),
    [
        ({"density": 1.5}, r"density in \(0, 1\], found 1.5"),
        ({"input_density": 0}, r"input_density in \(0, 1\], found 0"),
        ({"unfolds": 0}, "unfolds of at least 1, found 0"),
        ({"num_layers": 0}, "num_layers of at least 1, found 0"),
        ({"dropout": 2}, r"dropout in \[0, 1\], found 2"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_names():
    network = make(bidirectional=True)
    names = {name for name, _ in network.named_parameters()}
    own = {"input_w", "input_b", "gleak", "vleak", "cm"}
    own |= {f"weight_{kind}" for kind in ("ih", "hh")}
    expected = set()
    for name in own:
        for suffix in ("_l0", "_l0_reverse"):
            parts = ConductanceWeight.link_parameters if name.startswith("weight") else [""]
            expected |= {f"{name}{suffix}.{part}".rstrip(".") for part in parts}
    assert names == expected


@pytest.mark.parametrize("every", [1, 4])
def test_segments_change_no_gradient(every):
    whole, cut = (make(bidirectional=True, checkpoint_every=n) for n in (None, every))
    x, h0 = leaves_of(whole, 7, 3)
    for network in (whole, cut):
        y, h_n = network(x, h0)
        (y.square().sum() + h_n.sin().sum()).backward()
    assert cut.checkpoint_every == every
    for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
        assert_close(other.grad, one.grad, rtol=1e-12, atol=1e-12)
