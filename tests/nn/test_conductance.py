"""Weights with more than values: conductances, and values shared by groups."""

import copy
import operator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from testing import assert_valid, leaves_of, patterns, random_pattern, refusals
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import (
    ConductanceWeight,
    GroupedWeight,
    SparseLinear,
    SparseLTC,
    SparseRNN,
    SparseWeight,
)
from sparse_engine.ops import Pattern
from sparse_engine.topology import SET, ErdosRenyi, Magnitude, RandomGrowth, Rewiring, RigL, wire
from sparse_engine.topology.schedule import ConstantSchedule


def of_links(weight, entries):
    """The entries of a vector by the cell of their link."""
    return dict(zip(weight.pattern.links.positions().tolist(), entries.tolist(), strict=True))


def trained(steps=3):
    """A weight and its optimizer, whose moments are not 0."""
    weight = ConductanceWeight.erdos_renyi(30, 40, density=0.2)
    optimizer = torch.optim.Adam(weight.parameters(), lr=0.01)
    for _ in range(steps):
        current, conductance = weight(torch.rand(8, 40))
        (current - conductance).square().sum().backward()
        optimizer.step()
    return weight, optimizer


def state_of(weight, optimizer):
    """Every vector of one entry per link, by cell."""
    found = {}
    for name in weight.link_parameters:
        parameter = getattr(weight, name)
        found[name, "entry"] = of_links(weight, parameter)
        found[name, "grad"] = of_links(weight, parameter.grad)
        for moment in ("exp_avg", "exp_avg_sq"):
            found[name, moment] = of_links(weight, optimizer.state[parameter][moment])
    return found


def test_everything_of_a_link_moves_with_it():
    weight, optimizer = trained()
    parameters = [*weight.parameters()]
    places = [parameter.data_ptr() for parameter in parameters]
    before, cells = state_of(weight, optimizer), set(weight.pattern.links.positions().tolist())
    SET(weight, optimizer, fraction=0.4, every=1).step()
    after, now = state_of(weight, optimizer), set(weight.pattern.links.positions().tolist())
    survivors, born = cells & now, now - cells
    assert len(survivors) >= 0.6 * len(cells) and len(born) >= 0.3 * len(cells)
    for what, entries in after.items():
        same = sum(entries[cell] == before[what][cell] for cell in survivors)
        # A link may be dropped and drawn again in the same place: then it is a new one.
        assert same >= 0.9 * len(survivors), what
        if what[1] != "entry":
            assert all(entries[cell] == 0 for cell in born), what
    assert all(after["values", "entry"][cell] == 0 for cell in born)
    for name, low, high in (("mu", 0.3, 0.8), ("sigma", 3, 8), ("erev", -1, 1)):
        fresh = [after[name, "entry"][cell] for cell in born]
        assert low <= min(fresh) < max(fresh) <= high, name
    assert {after["erev", "entry"][cell] for cell in born} == {-1.0, 1.0}
    assert all(map(operator.is_, weight.parameters(), parameters))
    assert [parameter.data_ptr() for parameter in parameters] == places
    assert_valid(weight)
    weight(torch.rand(8, 40))[0].sum().backward()
    optimizer.step()


def test_fewer_links():
    weight, optimizer = trained()
    before = state_of(weight, optimizer)
    rules = {"prune": Magnitude(), "grow": RandomGrowth(), "density": ConstantSchedule(0.1)}
    Rewiring(weight, optimizer, **rules, fraction=0.0, every=1).step()
    assert weight.nnz == 120
    for what, entries in state_of(weight, optimizer).items():
        assert len(entries) == 120
        assert all(entry == before[what][cell] for cell, entry in entries.items()), what
    assert_valid(weight)


def test_a_wiring_draws_everything_anew():
    weight, _ = trained()
    model = nn.Sequential(weight)
    wire(model, ErdosRenyi(nnz=100), seed=1)
    assert weight.nnz == 100 and (weight.values >= 0.01).all()
    assert all(parameter.grad is None for parameter in weight.parameters())
    first = {name: entry.clone() for name, entry in weight.state_dict().items()}
    wire(model, ErdosRenyi(nnz=100), seed=1)
    for name, entry in weight.state_dict().items():
        assert torch.equal(entry, first[name]), name
    assert weight.mu.unique().numel() > 90


def test_from_other_forms():
    dense = torch.rand(6, 5) * (torch.rand(6, 5) < 0.5)
    weight = ConductanceWeight.from_dense(dense)
    assert torch.equal(weight.to_dense(), dense)
    assert weight.mu.shape == weight.sigma.shape == weight.erev.shape == (weight.nnz,)
    erev = torch.linspace(-1, 1, weight.nnz)
    other = ConductanceWeight(weight.values, weight.pattern, erev=erev)
    assert torch.equal(other.erev, erev) and other.erev.requires_grad
    erev.zero_()
    assert other.erev.abs().sum() > 0


def test_growth_by_the_dense_gradient_is_refused():
    weight, optimizer = trained()
    assert weight.captured is None
    with pytest.raises(ValueError, match="without the dense gradient"):
        RigL(weight, optimizer, steps=100, every=1)


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
    network = SparseLTC(6, 21, 2, density=0.3, bidirectional=True)
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


def of_seven(**entries):
    return lambda: ConductanceWeight(torch.rand(7), random_pattern(4, 5, 7), **entries)


def test_a_pattern_is_set_with_every_entry():
    pattern, values = random_pattern(4, 5, 7), torch.rand(7)
    weight, plain = ConductanceWeight(values, pattern), SparseWeight(values, pattern)
    for each, entries, message in (
        (weight, {}, r"entries of \['erev', 'mu', .*found \['values'\]"),
        (plain, {"mu": values}, r"found \['mu', 'values'\]"),
        (weight, {"mu": values, "sigma": values[1:], "erev": values}, r"and sigma of shape \[6\]"),
    ):
        with pytest.raises(ValueError, match=message):
            each.set_pattern(pattern, values, **entries)
        assert each.topology_version == 0 and isinstance(each.pattern, Pattern)


test_entries_that_do_not_fit_are_refused = refusals(
    (r"floating-point mu of shape \[7\], found .* \[6\]", of_seven(mu=torch.rand(6))),
    (
        r"floating-point erev of shape \[7\], found torch.int64",
        of_seven(erev=torch.ones(7, dtype=torch.int64)),
    ),
)

GROUPS = 5


def grouped(pattern, groups=GROUPS, dtype=torch.float64):
    group = torch.randint(groups, (pattern.nnz,))
    base = torch.randn(pattern.nnz, dtype=dtype)
    return GroupedWeight(base, pattern, group, gain=torch.randn(groups, dtype=dtype))


def dense(weight, gain):
    """The matrix of a weight, from other gains."""
    links = gain[weight.group.long()] * weight.base
    out = weight.base.new_zeros(weight.shape)
    return out.index_put((weight.rows(), weight.col_indices.long()), links)


def assert_like_dense(weight):
    x = torch.randn(7, weight.shape[1], dtype=torch.float64)
    gain = weight.gain.detach().clone().requires_grad_()
    own, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = weight(own), nn.functional.linear(other, dense(weight, gain))
    assert_close(y, expected)
    upstream = torch.randn_like(y)
    y.backward(upstream)
    expected.backward(upstream)
    assert_close(own.grad, other.grad)
    assert_close(weight.gain.grad, gain.grad)


@given(pattern=patterns(), groups=st.integers(1, 9))
def test_any_structure(pattern, groups):
    assert_like_dense(grouped(pattern, groups))


def test_the_same_bits_for_any_number_of_threads(threads):
    weight, found = grouped(random_pattern(1000, 1000, 300_000), 7, torch.float32), []
    for count in (1, 3):
        threads(count)
        weight.zero_grad()
        weight.values.backward(torch.linspace(-1, 1, 300_000))
        found.append((weight.values.detach(), weight.gain.grad))
    assert all(map(torch.equal, *found))


def test_long_sums_are_exact():
    weight = GroupedWeight(torch.ones(1_000_000), random_pattern(1000, 1000, 1_000_000))
    upstream = torch.full((1_000_000,), 0.1)
    weight.values.backward(upstream)
    assert weight.gain.grad.item() == upstream.double().sum().float().item()


def test_a_step_compiles_without_a_break():
    model = SparseLinear(6, 9, density=0.5, dtype=torch.float64)
    model.weight = grouped(model.weight.pattern)
    twin, x = copy.deepcopy(model), torch.randn(5, 3, 6, dtype=torch.float64)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    found, expected = compiled(x), twin(x)
    assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    for own, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert_close(own.grad, other.grad)


def test_rewiring_leaves_it_alone():
    network = SparseRNN(6, 21, 2, density=0.3)
    network.weight_hh_l0 = weight = grouped(network.weight_hh_l0.pattern, dtype=torch.float32)
    optimizer = torch.optim.Adam(network.parameters())
    rule = SET(network, optimizer, every=1)
    before = weight.to_dense()
    network(torch.randn(4, 3, 6))[0].sum().backward()
    optimizer.step()
    rule.step()
    assert weight.topology_version == 0
    assert torch.equal(weight.to_dense() != 0, before != 0)
    assert network.weight_hh_l1.topology_version == network.weight_ih_l1.topology_version == 1
    with pytest.raises(ValueError, match="whose values are a Parameter, found GroupedWeight"):
        weight.set_pattern(weight.pattern, weight.values)


def of_eight(**arguments):
    return lambda: GroupedWeight(
        **{"base": torch.ones(8), "pattern": random_pattern(4, 4, 8)} | arguments
    )


EIGHT = torch.arange(8)
test_wrong_arguments_are_named = refusals(
    (r"group of shape \[8\], found \[3\]", of_eight(group=torch.zeros(3).int())),
    ("group of an integer dtype", of_eight(group=torch.zeros(8))),
    (r"group in \[0, 7\), found -1 at position 0", of_eight(group=EIGHT - 1)),
    (r"group in \[0, 7\), found 7 at position 7", of_eight(group=EIGHT, gain=torch.ones(7))),
    ("floating-point gain of shape", of_eight(gain=torch.ones(1).int())),
    (r"shape \[groups\], .* shape \[1, 1\]", of_eight(gain=torch.ones(1, 1))),
    ("floating-point values", of_eight(base=torch.ones(8).int())),
)


def test_one_group_by_default():
    weight = GroupedWeight.erdos_renyi(20, 30, density=0.1)
    assert weight.gain.tolist() == [1.0]
    assert repr(weight).endswith("nnz=60, density=0.1, frozen pattern, groups=1)")
    assert torch.equal(weight.values, weight.base)
    weight.to_dense().sum().backward()
    assert_close(weight.gain.grad[0], weight.base.sum())


def test_gains_start_at_one_and_have_the_dtype_of_the_base():
    base, group = torch.randn(8, dtype=torch.float64), torch.tensor([0, 2, 2, 3, 0, 0, 0, 2])
    weight = GroupedWeight(base, random_pattern(4, 4, 8), group)
    assert torch.equal(weight.gain, torch.ones(4, dtype=torch.float64))
    weight = GroupedWeight(base, random_pattern(4, 4, 8), group, gain=torch.ones(9))
    assert weight.gain.dtype == torch.float64
    assert weight.float().values.dtype == torch.float32
