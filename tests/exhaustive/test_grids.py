"""Grids of a form of each cell, long runs, and native operations with any arguments.

Other forms meet every two values of the same axes in tests/contract and tests/kernels.
"""

import gc
import os
import resource
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from contract.networks import FORMS as NETWORKS
from contract.networks import assert_same, make, outcome
from contract.test_equations import BOUNDS, SHAPES, STACKS, by_equations, makes_sense
from kernels.sequences import FORMS as OPERATIONS
from kernels.sequences import check
from kernels.test_sequences import SHAPES as STEPS_AND_BATCHES
from kernels.test_sequences import is_exact_enough
from methods import build, make_method, train
from testing import leaves_of, square_patterns

from sparse_engine.topology import ITOP, SNFS, DeepR, GraNet, Tracker

SQUARE = square_patterns()
#: Dtype, and whether there are initial states and a bias: every two of them in each combination.
EVERY_TWO = [
    ("float32", True, True),
    ("float32", False, False),
    ("float64", True, False),
    ("float64", False, True),
]


@pytest.mark.parametrize("form", [form for form in NETWORKS if "," not in form])
@pytest.mark.parametrize("shape", SHAPES)
def test_networks(form, shape):
    first = [*SHAPES].index(shape)
    for number, stack in enumerate(STACKS, first):
        dtype, initial = [(torch.float64, True), (torch.float32, False)][number % 2]
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


@pytest.mark.parametrize("name", [name for name in OPERATIONS if "," not in name])
@pytest.mark.parametrize("pattern", SQUARE)
def test_operations(name, pattern):
    form = OPERATIONS[name]
    for shape, (dtype, initial, bias) in product(STEPS_AND_BATCHES, EVERY_TWO):
        if not is_exact_enough({"form": name, "pattern": pattern, "dtype": dtype}):
            continue
        given = {"initial": initial, "bias": bias}
        try:
            check(form, form.problem(SQUARE[pattern], *shape, getattr(torch, dtype), **given))
        except AssertionError as error:
            raise AssertionError(f"{shape}, {dtype}, {initial=}, {bias=}") from error


SECONDS = 10
MEMORY_GB = 16


def test_any_arguments():
    script = Path(__file__).with_name("fuzz.py")
    done = subprocess.run(
        [sys.executable, script, "1", str(SECONDS), str(MEMORY_GB)],
        env=os.environ | {"PYTHONPATH": str(script.parents[1])},
        capture_output=True,
        text=True,
        timeout=20 * SECONDS,
        check=False,
    )
    last = done.stdout.split()[-1:]
    assert done.returncode == 0, f"the call of seed {last} ended the process: {done.stderr[-2000:]}"


def held():
    """Bytes of the process, and tensors that Python knows."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    tensors = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
    return pages * resource.getpagesize(), tensors


@pytest.mark.parametrize("method", [DeepR, SNFS, ITOP, GraNet])
def test_memory_is_bounded(method):
    """If the links of all weights stayed behind at each rewiring, they would be 27 MB."""
    parts = build(make_method(method, steps=300, every=1), 1, hidden=256)
    Tracker(parts.rule)
    train(parts, 0, 100)
    memory, tensors = held()
    train(parts, 100, 300)
    assert parts.rule.steps_taken == 300
    later, more = held()
    assert more <= tensors + 10 and later < memory + 10e6
