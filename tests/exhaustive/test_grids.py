"""Full grids of what the tests of every commit sample by pairs."""

from itertools import product

import pytest
import torch
from contract.networks import FORMS as NETWORKS
from contract.networks import assert_same, make, outcome
from contract.test_equations import BOUNDS, SHAPES, STACKS, by_equations, makes_sense
from kernels.sequences import FORMS as OPERATIONS
from kernels.sequences import check
from kernels.test_sequences import SHAPES as STEPS_AND_BATCHES
from kernels.test_sequences import is_exact_enough
from testing import leaves_of, square_patterns

SQUARE = square_patterns()


@pytest.mark.parametrize("form", NETWORKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_networks(form, shape):
    for stack, dtype, initial in product(STACKS, BOUNDS, (True, False)):
        if not makes_sense({"form": form, "stack": stack, "dtype": str(dtype)}):
            continue
        if (form.startswith("lif"), shape, dtype) == (True, "long", torch.float32):
            continue  # each spike that is almost one adds what rounding makes of its slope
        network = make(form, dtype, **STACKS[stack])
        leaves = leaves_of(network, *SHAPES[shape], initial=initial)
        try:
            found, wanted = outcome(network, leaves), by_equations(form, network, leaves)
            assert_same(found, wanted, BOUNDS[dtype])
        except AssertionError as error:
            raise AssertionError(f"{stack}, {dtype}, {initial=}") from error


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("pattern", SQUARE)
def test_operations(name, pattern):
    form, parts = OPERATIONS[name], (True, False)
    dtypes = ("float32", "float64")
    for shape, dtype, initial, bias in product(STEPS_AND_BATCHES, dtypes, parts, parts):
        if not is_exact_enough({"form": name, "pattern": pattern, "dtype": dtype}):
            continue
        given = {"initial": initial, "bias": bias}
        try:
            check(form, form.problem(SQUARE[pattern], *shape, getattr(torch, dtype), **given))
        except AssertionError as error:
            raise AssertionError(f"{shape}, {dtype}, {initial=}, {bias=}") from error
