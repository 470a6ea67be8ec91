"""The kernels of spiking units: events or rows, any thread count, and spikes without a network."""

from dataclasses import dataclass, fields, replace

import pytest
import torch
from kernels.sequences import outcome
from pairwise import pairwise
from testing import random_pattern, square_patterns
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.nn import AlphaSynapse, ATan, SparseLIF, SparseWeight, SuperSpike, Triangle
from sparse_engine.nn.cells.lif import LIF
from sparse_engine.ops.lif import Unit

pytestmark = pytest.mark.cpu

UNITS = {
    "plain": LIF(surrogate=SuperSpike(3.0)),
    "resting": LIF(refractory=2, delay=3, surrogate=ATan(2.0)),
    "alpha": LIF(synapse=AlphaSynapse(3.0), resistance=60.0, surrogate=Triangle(0.4)),
    "cleared": LIF(
        synapse=AlphaSynapse(2.0), keeps_current=False, resistance=40.0, delay=2, refractory=1
    ),
    "long delay": LIF(keeps_current=False, delay=9, surrogate=Triangle(0.7)),
}
SQUARE = square_patterns()
#: Numbers of threads, and how they share the work; of three that stand by, one may work alone.
TEAMS = [(1, "rows"), (2, "rows"), (3, "rows"), (3, "alone")]


def problem(unit, pattern, steps, batch, dtype=torch.float64, *, initial=True, size=1.0):
    """Arguments of the operation; as spikes before the first step, any numbers."""
    units = pattern.shape[0]
    state = []
    for name in unit.states:
        width = units * (unit.delay - 1) if name == "d0" else units
        each = torch.randn(batch, width, dtype=dtype)
        state.append(each.round() if name == "r0" else each)
    return {
        "x": size * torch.randn(steps, batch, units, dtype=dtype),
        "state": state if initial else None,
        "bias": torch.randn(units, dtype=dtype) if initial else None,
        "values": torch.randn(pattern.nnz, dtype=dtype),
        "pattern": pattern,
        "unit": unit,
    }


@pairwise(
    unit=[*UNITS],
    pattern=[*SQUARE],
    shape=[(1, 1), (5, 1), (2, 3), (12, 4), (9, 12), (3, 16), (5, 33), (4, 130)],
    initial=[True, False],
)
def test_equals_its_reference(unit, pattern, shape, initial):
    arguments = problem(UNITS[unit].unit, SQUARE[pattern], *shape, initial=initial)
    found, wanted = (outcome(run, arguments) for run in (ops.lif, ops.lif.reference))
    assert found.keys() == wanted.keys()
    for name, each in wanted.items():
        assert_close(found[name], each, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("batch", [1, 3, 20])
def test_spikes_have_the_same_bits_for_any_number_of_threads(unit, batch, threads, way):
    pattern = random_pattern(700, 700, 30_000)
    arguments = problem(UNITS[unit].unit, pattern, 12, batch, torch.float32)
    found = []
    for count, name in TEAMS:
        threads(count)
        way(name)
        found.append(outcome(ops.lif, arguments))
    for other in found[1:]:
        assert all(torch.equal(each, other[name]) for name, each in found[0].items())


@pytest.mark.parametrize("batch", [1, 8, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_few_spikes_find_their_links_and_many_are_multiplied_in_rows(batch, dtype, counted):
    """A threshold that is moved chooses the way; what follows the spikes is the same."""
    torch.manual_seed(0)
    pattern = random_pattern(300, 300, 9000)
    quiet = replace(UNITS["plain"], threshold=5.0).unit
    busy = replace(UNITS["plain"], threshold=-1e-3, reset=-0.01).unit
    for unit, few in ((quiet, True), (busy, False)):
        arguments = problem(unit, pattern, 30, batch, dtype, initial=False, size=0.3)
        arguments["values"] = torch.randint(-3, 4, (pattern.nnz,)).to(dtype) / 8
        ran = counted(lambda arguments=arguments: ops.lif(**arguments))["event_products"]
        assert ran > 0 if few else ran < 10
        spikes = ops.lif(**arguments)[0]
        assert 0 < spikes.mean() < 0.04 if few else spikes.mean() > 0.3
        assert torch.equal(spikes, ops.lif.reference(**arguments)[0])


@dataclass(frozen=True)
class Own(SuperSpike):
    """A surrogate that kernels do not have."""


def test_what_kernels_do_not_have_is_refused_and_goes_by_steps():
    unit = LIF(surrogate=Own()).unit
    with pytest.raises(ValueError, match=r"surrogate of \['SuperSpike', .*found Own"):
        ops.lif(**problem(unit, random_pattern(5, 5, 7), 2, 3))
    x, network = torch.randn(6, 3, 4), SparseLIF(4, 20, density=0.2)
    own = SparseLIF(4, 20, density=0.2, surrogate=Own())
    own.load_state_dict(network.state_dict())
    for each in (network, own):
        each(x)[0].sum().backward()
    assert_close(own.weight_ih_l0.grad, network.weight_ih_l0.grad)


def test_arguments_that_do_not_fit():
    unit, pattern = UNITS["resting"].unit, random_pattern(5, 5, 7)
    fine = problem(unit, pattern, 4, 3)
    state = fine["state"]
    for change, message in (
        ({"x": fine["x"][:0]}, "at least one time step, found none"),
        ({"x": fine["x"][..., :4]}, r"x of shape \[steps, batch, 5\]|size"),
        ({"values": fine["values"][:6]}, r"values of shape \[7\], found \[6\]"),
        ({"bias": fine["bias"].float()}, "bias of dtype float64, found float32"),
        ({"state": [*state[:3], state[3][:2], state[4]]}, r"rests of shape \[3, 5\], found"),
        ({"unit": replace(unit, delay=0), "state": None}, r"delay in \[1, 1048576\], found 0"),
        ({"unit": replace(unit, refractory=-1)}, "refractory of at least 0, found -1"),
        ({"pattern": random_pattern(5, 6, 7)}, "square recurrent weight, found 5 x 6"),
    ):
        with pytest.raises((ValueError, RuntimeError), match=message):
            ops.lif(**(fine | change))


def simulated(network, x, sizes, refractory):
    """The same by the cell: what is added to potentials, and each unit's refractory steps."""
    unit, hidden = network.cell.unit, network.hidden_size
    dense = network.weight_hh_l0.to_dense()
    v, i, g = torch.zeros(3, hidden, dtype=x.dtype)
    rests, spikes = torch.zeros(hidden), [torch.zeros(hidden, dtype=x.dtype)] * unit.delay
    for each in x:
        shut = rests > 0
        v = torch.where(rests > unit.keeps_current, v, v + sizes * each)
        rests = (rests - 1).clamp(min=0)
        arrived = dense @ spikes[-unit.delay]
        arrived = arrived if unit.keeps_current else arrived.masked_fill(shut, 0)
        g, i = (g + arrived, i) if unit.alpha else (g, i + arrived)
        moved = unit.leak * v + unit.of_current * i + unit.of_rise * g
        v = torch.where(rests > 0, v, moved)
        i, g = unit.decay * i + unit.rise * g, unit.decay * g
        fires = (v > unit.threshold) & (rests == 0)
        v = v.masked_fill(fires, unit.reset)
        rests = torch.where(fires, refractory + 1, rests)
        if not unit.keeps_current:
            i, g = (each.masked_fill(rests > 0, 0) for each in (i, g))
        spikes.append(fires.to(x.dtype))
    return torch.stack(spikes[unit.delay :]).nonzero()


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("own", [True, False])
def test_simulation_by_events(unit, own, threads, way):
    hidden, steps = 400, 150
    options = {each.name: getattr(UNITS[unit], each.name) for each in fields(LIF)}
    network = SparseLIF(1, hidden, density=0.05, bias=False, dtype=torch.float64, **options)
    weight = network.weight_hh_l0
    network.weight_hh_l0 = SparseWeight(torch.randn(weight.nnz).double() / 4, weight.pattern)
    x = (torch.rand(steps, hidden) < 0.02).double()
    refractory = torch.randint(0, 4, (hidden,)) if own else None
    rests = torch.full((hidden,), network.refractory) if refractory is None else refractory
    wanted = simulated(network, x, 1.7, rests.float())
    step, target = x.nonzero().T
    order = torch.randperm(len(step))
    for count, name in TEAMS:
        threads(count)
        way(name)
        found = network.simulate(steps, (step[order], target[order], 1.7), refractory=refractory)
        assert len(wanted) > 300 and torch.equal(torch.stack(found, 1), wanted)


def test_simulations_that_are_refused():
    network = SparseLIF(1, 20, density=0.2, bias=False)
    good = torch.tensor([0, 3])
    for steps, step, unit, message in (
        (3, good, good, r"the step of events in \[0, 3\)"),
        (5, good, good + 17, r"the unit of events in \[0, 20\)"),
        (0, good, good, "steps of at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            network.simulate(steps, (step, unit, 1.0))
    with pytest.raises(ValueError, match="without biases"):
        SparseLIF(1, 20, density=0.2).simulate(5, (good, good, 1.0))


def test_a_unit_is_a_value():
    assert LIF().unit == LIF().unit and isinstance(hash(LIF().unit), int)
    assert isinstance(LIF().unit, Unit)
