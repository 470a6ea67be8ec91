"""Liquid time-constant networks: large ones, and arguments that do not fit."""

import pytest
import torch
from kernels.sequences import FORMS, cast, outcome

from sparse_engine import ops
from sparse_engine.testing import assert_scaled_sums, random_pattern


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cm": torch.ones(8)}, r"cm of shape \[9\], found \[8\]"),
        ({"cm": torch.ones(9).double()}, "cm of dtype float32, found float64"),
        ({"mu": torch.ones(24)}, r"mu of shape \[25\], found \[24\]"),
        ({"sigma": torch.ones(25).double()}, "sigma of dtype float32, found float64"),
        ({"erev": torch.ones(25, 1)}, r"erev of shape \[25\], found \[25, 1\]"),
        ({"current": torch.ones(4, 3, 8)}, r"current of shape \[steps, batch, 9\]"),
        ({"conductance": torch.ones(4, 2, 9)}, r"conductance of shape \[4, 3, 9\]"),
        ({"h0": torch.ones(9)}, r"h0 of shape \[3, 9\], found \[9\]"),
        ({"unfolds": 0}, "unfolds of at least 1, found 0"),
        ({"pattern": random_pattern(9, 8, 25)}, "a square recurrent weight, found 9 x 8"),
    ],
)
def test_errors(change, message):
    arguments = FORMS["ltc"].problem(random_pattern(9, 9, 25), 4, 3, torch.float32)
    parts = {name: each for name, each in change.items() if name in arguments["synapses"]._fields}
    change = {name: each for name, each in change.items() if name not in parts}
    synapses = arguments["synapses"]._replace(**parts)
    with pytest.raises(ValueError, match=message):
        ops.ltc(**(arguments | change | {"synapses": synapses}))
