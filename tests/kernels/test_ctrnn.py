"""Continuous-time networks: numbers by hand, and order of the solver."""

import pytest
import torch
from kernels.sequences import FORMS, check, outcome
from testing import random_pattern

from sparse_engine import ops
from sparse_engine.ops import RK4, Euler


def link_by_link(x, h0, dt, values, pattern, **method):
    """Return what ctrnn equals, for sizes at which the dense weight would not fit."""
    rows, cols = pattern.rows(), pattern.col.long()

    def product(h):
        return torch.zeros_like(h).index_add(1, rows, values * h[:, cols])

    h, states = h0, []
    for t, held in enumerate(x):
        (h,) = ops.ctrnn.step(held, product, (h,), dt=dt[t].unsqueeze(-1), **method)
        states.append(h)
    return torch.stack(states)


def test_more_units_than_the_caches_hold():
    arguments = FORMS["ctrnn, Heun"].problem(random_pattern(12_000, 12_000, 30_000), 2, 40)
    found = outcome(ops.ctrnn, arguments)
    for name, wanted in outcome(link_by_link, arguments).items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-11, atol=1e-11)


def test_one_unit_in_numbers():
    """A unit without links, by hand."""
    nothing, two = random_pattern(1, 1, 0), torch.full((2, 1, 1), 2.0, dtype=torch.float64)
    dt = torch.tensor([[0.5], [0.25]], dtype=torch.float64)
    arguments = {"x": two, "h0": None, "dt": dt, "values": two.new_empty(0), "pattern": nothing}
    y = torch.tensor(2.0, dtype=torch.float64).tanh()
    h = ops.ctrnn(**arguments, rate=two.new_tensor([2.0]))  # h forgets all in 0.5
    torch.testing.assert_close(h.flatten(), torch.stack([0.5 * y, 0.25 * y + 0.25 * y]))
    h = ops.ctrnn(**arguments, unfolds=3, solver=RK4())  # a constant field
    torch.testing.assert_close(h.flatten(), torch.stack([1.5 * y, 2.25 * y]))


def test_rk4_is_of_order_four():
    """Halving the step brings the result sixteen times as near to the exact one."""
    arguments = FORMS["ctrnn, RK4"].problem(random_pattern(10, 10, 40), 1, 2)
    arguments["dt"] = torch.ones(1, 2, dtype=torch.float64)

    def run(unfolds):
        shorter = arguments | {"dt": arguments["dt"] / unfolds, "unfolds": unfolds}
        return ops.ctrnn(**shorter)

    exact = run(64)
    first, second = ((run(unfolds) - exact).norm() for unfolds in (4, 8))
    assert 12 < first / second < 24


@pytest.mark.parametrize("solver", [Euler(), RK4()])
def test_no_gradient_passes_a_state_at_the_limit(solver):
    form = FORMS["ctrnn, clipped"]
    arguments = form.problem(random_pattern(33, 33, 200), 5, 4) | {"solver": solver}
    h = ops.ctrnn(**arguments)
    fraction = (h.abs() == 0.4).double().mean()
    assert 0.05 < fraction < 0.95 and h.abs().max() == 0.4
    check(form, arguments)


def test_only_x_and_h_are_kept_for_any_number_of_stages():
    arguments = FORMS["ctrnn, RK4"].problem(random_pattern(33, 33, 200), 3, 40) | {"unfolds": 9}
    arguments["values"].requires_grad_()
    sizes = []

    def note(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        h = ops.ctrnn(**arguments)
    assert [size for size in sizes if size > 33 * 40] == [h.numel()] * 2
