"""Links with parameters of their own: how they start, and what a rewiring and a wiring do."""

import operator

import pytest
import torch
from testing import assert_valid, leaves_of, random_pattern, refusals
from torch import nn

from sparse_engine.nn import ConductanceWeight, SparseLTC, SparseWeight
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
    for each, given, message in (
        (weight, {}, r"entries of \['erev', 'mu', .*found \['values'\]"),
        (plain, {"mu": values}, r"found \['mu', 'values'\]"),
        (weight, {"mu": values, "sigma": values[1:], "erev": values}, r"and sigma of shape \[6\]"),
    ):
        with pytest.raises(ValueError, match=message):
            each.set_pattern(pattern, values, **given)
        assert each.topology_version == 0 and isinstance(each.pattern, Pattern)


test_entries_that_do_not_fit_are_refused = refusals(
    (r"floating-point mu of shape \[7\], found .* \[6\]", of_seven(mu=torch.rand(6))),
    (
        r"floating-point erev of shape \[7\], found torch.int64",
        of_seven(erev=torch.ones(7, dtype=torch.int64)),
    ),
)
