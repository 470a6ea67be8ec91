"""Links with parameters of their own: what a rewiring, a wiring and a state dict do with them."""

import operator

import pytest
import torch
from testing import assert_valid, random_pattern
from torch import nn

from sparse_engine.nn import ConductanceWeight, SparseWeight
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
    for name in weight.link_parameters:
        parameter = getattr(weight, name)
        assert parameter.shape == parameter.grad.shape == (120,)
        for moment in ("exp_avg", "exp_avg_sq"):
            entries = of_links(weight, optimizer.state[parameter][moment])
            assert all(entry == before[name, moment][cell] for cell, entry in entries.items())
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


def test_errors():
    pattern = random_pattern(4, 5, 7)
    values = torch.rand(7)
    with pytest.raises(ValueError, match=r"floating-point mu of shape \[7\], found .* \[6\]"):
        ConductanceWeight(values, pattern, mu=torch.rand(6))
    with pytest.raises(ValueError, match=r"floating-point erev of shape \[7\], found torch.int64"):
        ConductanceWeight(values, pattern, erev=torch.ones(7, dtype=torch.int64))
    weight = ConductanceWeight(values, pattern)
    with pytest.raises(ValueError, match=r"entries of \['erev', 'mu', .*found \['values'\]"):
        weight.set_pattern(pattern, values)
    with pytest.raises(ValueError, match=r"found \['mu', 'values'\]"):
        SparseWeight(values, pattern).set_pattern(pattern, values, mu=values)
    with pytest.raises(ValueError, match=r"and sigma of shape \[6\]"):
        weight.set_pattern(pattern, values, mu=values, sigma=values[1:], erev=values)
    assert weight.topology_version == 0 and isinstance(weight.pattern, Pattern)
