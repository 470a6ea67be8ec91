"""Liquid time-constant networks: large ones, and membranes without conductance."""

import pytest
import torch
from kernels.sequences import FORMS, cast, outcome
from testing import assert_scaled_sums, random_pattern

from sparse_engine import ops


def link_by_link(current, conductance, h0, cm, synapses, pattern, *, unfolds):
    """Return what ltc equals, for sizes at which dense parameters would not fit."""
    v, rows, cols = h0, pattern.rows(), pattern.col.long()
    states = []
    for drive, leak in zip(current, conductance, strict=True):
        for _ in range(unfolds):
            g = synapses.values * torch.sigmoid(synapses.sigma * (v[:, cols] - synapses.mu))
            i = (cm * v + drive).index_add(1, rows, g * synapses.erev)
            v = i / (cm + leak).index_add(1, rows, g)
        states.append(v)
    return torch.stack(states)


@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_more_units_than_the_caches_hold(batch, dtype):
    pattern = random_pattern(30_000, 30_000, 40_000)
    arguments = FORMS["ltc"].problem(pattern, 1, batch, dtype)
    found = outcome(ops.ltc, arguments)
    for name, wanted in outcome(link_by_link, cast(arguments)).items():
        assert_scaled_sums(found[name], wanted, 400 * batch)


def test_membranes_without_any_conductance_but_their_capacitance():
    """Columns that only fill up a vector have none at all, and must not disturb the sums."""
    pattern, batch = random_pattern(9, 9, 0), 5
    arguments = FORMS["ltc"].problem(pattern, 2, batch) | {"cm": torch.zeros(9).double()}
    assert all(each.isfinite().all() for each in outcome(ops.ltc, arguments).values())
