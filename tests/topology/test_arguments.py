"""Values out of their range are refused by name, with the range and the value."""

import re
from functools import partial
from math import inf, nan

import numpy as np
import pytest
import torch
from testing import refusals

from sparse_engine import topology as t
from sparse_engine.nn import SparseLinear
from sparse_engine.topology import prune, redistribute, schedule

PLACES = np.random.default_rng(0).random((60, 2))
near = partial(t.ExponentialDistance, PLACES, PLACES, **{"scale": 0.1, "density": 0.1})
blocks = partial(t.StochasticBlockModel, [[0.5]])
linear = partial(schedule.LinearSchedule, 0.3, 10)
cubic = partial(schedule.CubicSchedule, start=1.0, end=0.1, first=0, last=9)
sigmoid = partial(schedule.SigmoidSchedule, 0.5, 0.1, 0, 9)


def method(kind, **options):
    """Makes a method for a layer and its optimizer."""

    def make(**others):
        model = SparseLinear(20, 20, density=0.5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return kind(model, optimizer, **options, **others)

    return make


RIGL, MEST = method(t.RigL, steps=10), method(t.MEST, steps=10)
UNIT, HALF_OPEN = "in [0, 1]", "in (0, 1]"

#: What is made, the argument, a value that it cannot have, and its range.
RANGES = [
    (method(t.SET), "fraction", nan, UNIT),
    (method(t.SET), "every", 0, "of at least 1 step"),
    (RIGL, "fraction", 1.5, UNIT),
    (RIGL, "stop", 0.0, HALF_OPEN),
    (method(t.RigL), "steps", 0, "of at least 1"),
    (method(t.GSE, steps=10), "ratio", -1.0, "of at least 0"),
    (MEST, "scale", -1.0, "of at least 0"),
    (MEST, "fraction", 2.0, UNIT),
    (method(t.DeepR), "l1", -1.0, "of at least 0"),
    (method(t.DeepR), "temperature", nan, "of at least 0"),
    (method(t.PeriodicDeepR), "noise", inf, "of at least 0"),
    (method(t.ImportanceSET), "share", 1.1, UNIT),
    (method(t.ImportanceSET), "prune_every", 0, "of at least 1"),
    (linear, "end", nan, None),
    (partial(schedule.LinearSchedule, 0.3), "steps", 0, "of at least 1"),
    (partial(schedule.CosineSchedule, 0.3), "steps", -4, "of at least 1"),
    (cubic, "start", 1.5, HALF_OPEN),
    (cubic, "end", 0.0, HALF_OPEN),
    (sigmoid, "steepness", 0, "> 0"),
    (prune.SoftMagnitude, "delta", 1.0, "in [0, 1)"),
    (prune.SoftMagnitude, "alpha", 1.5, UNIT),
    (prune.NeuronImportance, "share", 1.5, UNIT),
    (prune.NeuronImportance, "threshold", nan, "of at least 0"),
    (prune.GradientMagnitude, "scale", inf, "of at least 0"),
    (prune.GlobalThreshold, "start", 0.0, "> 0"),
    (prune.GlobalThreshold, "tolerance", 1.0, "in [0, 1)"),
    (partial(prune.NarangThreshold, t.NarangRamp(10, 20, 40)), "density", 0.0, HALF_OPEN),
    (redistribute.ByMagnitude, "cap", 0, HALF_OPEN),
    (redistribute.ByMagnitude, "cap", nan, HALF_OPEN),
    (t.ERKDensity, "density", 0, HALF_OPEN),
    (t.EqualDensity, "density", 0, HALF_OPEN),
    (t.ErdosRenyi, "density", 1.5, HALF_OPEN),
    (t.ErdosRenyi, "epsilon", inf, "> 0"),
    (t.ErdosRenyi, "nnz", -1, "of at least 0"),
    (t.ConstantFanIn, "fan_in", -1, "of at least 0"),
    (t.ConstantFanIn, "density", 0.0, HALF_OPEN),
    (partial(t.WattsStrogatz, rewiring=0.1), "neighbours", 0, "of at least 1"),
    (partial(t.WattsStrogatz, 4), "rewiring", 1.1, UNIT),
    (t.BarabasiAlbert, "attached", 0, "of at least 1"),
    (partial(t.ReceptiveField, randomness=0.5), "density", 0.0, HALF_OPEN),
    (partial(t.ReceptiveField, 0.1), "randomness", -0.5, UNIT),
    (near, "scale", 0.0, "> 0"),
    (near, "density", 2, HALF_OPEN),
    (near, "candidates", 0, "of at least 1"),
    (blocks, "row_sizes", [3, 4], "of at least 0"),
    (blocks, "column_sizes", [-3], "of at least 0"),
    (partial(t.StochasticBlockModel.modular, within=1, between=1), "groups", 0, "of at least 1"),
    (t.RandomSigns, "positive", 1.5, UNIT),
    (t.Dale, "excitatory", -1, UNIT),
]


@pytest.mark.parametrize(("make", "name", "value", "range_"), RANGES)
def test_a_value_out_of_its_range_is_named(make, name, value, range_):
    wanted = name if range_ is None else f"{name} {range_}"
    with pytest.raises(
        ValueError, match=f"expected .*{re.escape(wanted)}.*, found {re.escape(str(value))}"
    ):
        make(**{name: value})


test_arguments_that_do_not_fit_are_named = refusals(
    ("a number or a Schedule, found 'cosine'", lambda: schedule.as_schedule("cosine")),
    ("a number or a Schedule, found None", lambda: schedule.as_schedule(None)),
    ("a number or a Schedule, found 'soft'", lambda: prune.SoftMagnitude("soft")),
    ("first < last, found 9 and 9", lambda: cubic(first=9)),
    ("first <= ramp <= last", lambda: t.NarangRamp(5, 3, 9)),
    ("found 5, 5 and 5", lambda: t.NarangRamp(5, 5, 5)),
    ("every of at least the 10 steps", lambda: method(t.SNFS, steps=10)(every=5)),
    ("momentum, found None", lambda: t.SNFS(SparseLinear(4, 4, density=0.5), None, steps=10)),
    (
        "an optimizer that trains every weight",
        lambda: t.DeepR(SparseLinear(4, 4, density=0.5), None),
    ),
    ("a model with sparse weights", lambda: t.SET(torch.nn.Linear(3, 3), None)),
    ("exactly one of share and threshold", lambda: prune.NeuronImportance()),
    ("exactly one of density, epsilon and nnz", lambda: t.ErdosRenyi(density=0.1, nnz=3)),
    ("exactly one of fan_in and density", lambda: t.ConstantFanIn(3, density=0.5)),
    (r"matrix of densities, found shape \[1\]", lambda: t.StochasticBlockModel([0.5])),
    (r"densities in \[0, 1\], found -0.1", lambda: t.StochasticBlockModel([[-0.1]])),
    ("60, 2. and", lambda: t.ExponentialDistance(PLACES, PLACES[:, :1], scale=1, density=1)),
    ("finite", lambda: t.ExponentialDistance(PLACES, np.nan * PLACES, scale=1, density=1)),
)
