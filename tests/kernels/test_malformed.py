"""Patterns that are none: every operation says so, and touches no memory that is not its own."""

import os
import subprocess
import sys

import pytest
import torch
from testing import random_pattern

from sparse_engine.ops._dispatch.native import native

pytestmark = pytest.mark.cpu

PATTERN = random_pattern(40, 40, 400)
VALUES, X = torch.randn(400), torch.randn(40, 6)
SEQUENCE = torch.randn(3, 6, 40)
LONG = torch.randn(40, 128, 40)  # two teams go through its columns
ACROSS = torch.randn(6, 40)


def twice(pattern):
    """Return the pattern of a weight of two gates, each with the links of ``pattern``."""
    crow, col, t_crow, *_ = pattern
    columns, plan = torch.zeros(800, dtype=torch.int32), torch.zeros(2, 13, dtype=torch.int32)
    return [
        torch.cat([crow, crow[-1] + crow[1:]]),
        torch.cat([col, col]),
        2 * t_crow,
        columns,
        columns,
        plan,
    ]


FORWARD = {
    "spmm": lambda p: native.spmm(VALUES, p, X, None),
    "spmm of a column": lambda p: native.spmm(VALUES, p, X[:, :1], None),
    "rnn_forward of one": lambda p: native.rnn_forward(
        SEQUENCE[:, :1], None, None, None, VALUES, p, None, 0
    ),
    "mgu_forward of one": lambda p: native.mgu_forward(
        SEQUENCE[:, :1].repeat(1, 1, 2), *[None] * 5, VALUES.repeat(2), twice(p), *[None] * 3, False
    ),
    "sddmm": lambda p: native.sddmm(p, X, X),
    "rnn_forward": lambda p: native.rnn_forward(SEQUENCE, None, None, None, VALUES, p, None, 0),
    "rnn_forward in parts": lambda p: native.rnn_forward(
        LONG, None, None, None, VALUES, p, None, 0
    ),
    "conductance_forward": lambda p: native.conductance_forward(
        ACROSS, VALUES, VALUES, VALUES, VALUES, p
    ),
}
BACKWARD = {
    "spmm_t": lambda p: native.spmm_t(VALUES, p, X),
    "spmm_t of two panels": lambda p: native.spmm_t(VALUES, p, X.repeat(1, 30)),
    "linear_backward": lambda p: native.linear_backward(VALUES, p, X, X),
    "rnn_backward": lambda p: native.rnn_backward(
        SEQUENCE, SEQUENCE, None, None, VALUES, p, None, 0, True, True
    ),
    "rnn_backward in parts": lambda p: native.rnn_backward(
        LONG, LONG, None, None, VALUES, p, None, 0, True, True
    ),
    "conductance_backward": lambda p: native.conductance_backward(
        ACROSS, ACROSS, ACROSS, VALUES, VALUES, VALUES, VALUES, p
    ),
}


def with_entry(tensor, at, entry):
    changed = tensor.clone()
    changed[at] = entry
    return changed


#: Each array of indices: name in messages, bound, a position, and operations that read it.
INDICES = {
    "col": ("col_indices", 40, 123, FORWARD),
    "t_col": ("t_col_indices", 40, 123, BACKWARD),
    "permutation": ("permutation", 400, 399, BACKWARD),
}


@pytest.mark.parametrize("entry", [-1, "size", 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("field, name", [(f, n) for f, (*_, each) in INDICES.items() for n in each])
def test_index_out_of_range(field, name, entry):
    called, size, at, operations = INDICES[field]
    entry = size if entry == "size" else entry
    pattern = PATTERN._replace(**{field: with_entry(getattr(PATTERN, field), at, entry)})
    message = rf"expected {called} in \[0, {size}\), found {entry} at position {at}"
    with pytest.raises(ValueError, match=message):
        operations[name](pattern)


@pytest.mark.parametrize("entry", [-5, 401, 2**62, -(2**63)])
@pytest.mark.parametrize("name", [*FORWARD, *BACKWARD])
def test_row_pointers_that_decrease(name, entry):
    part = "crow" if name in FORWARD else "t_crow"
    pattern = PATTERN._replace(**{part: with_entry(getattr(PATTERN, part), 7, entry)})
    with pytest.raises(ValueError, match=rf"expected {part}_indices non-decreasing .*{entry}"):
        (FORWARD | BACKWARD)[name](pattern)


@pytest.mark.parametrize("column", [90, -1, 2**31 - 1])
def test_columns_of_rows_that_are_multiplied_together(column):
    pattern, x = random_pattern(130, 90, 9000), torch.ones(90, 500)
    values = torch.ones(9000)
    wrong = pattern._replace(col=with_entry(pattern.col, 4321, column))
    with pytest.raises(ValueError, match=rf"\[0, 90\), found {column} at position 4321"):
        native.spmm(values, wrong, x, None)
    swapped = with_entry(pattern.col, 0, int(pattern.col[1]))
    swapped[1] = pattern.col[0]
    found = native.spmm(values, pattern._replace(col=swapped), x, None)
    assert torch.equal(found, native.spmm(values, pattern, x, None))


def test_topology_operations():
    crow, col, _ = PATTERN.links
    wide = with_entry(col, 5, 99)
    unsorted = col.flip(0)
    keep, cells = torch.ones(400, dtype=torch.bool), torch.empty(0, dtype=torch.int64)
    bytes_of_two = torch.full((400,), 2, dtype=torch.uint8).view(torch.bool)
    for wrong in (wide, unsorted):
        for run in (
            lambda c: native.transpose(crow, c, 40),
            lambda c: native.sample_absent(crow, c, 40, None, 5, 0, 0, 0),
            lambda c: native.rewire(crow, c, 40, keep, cells),
            lambda c: native.scan_absent(torch.ones(2, 40), crow, c, 40, 0, 0.5),
        ):
            with pytest.raises(ValueError, match="expected col_indices"):
                run(wrong)
    for size in (-1, 39, 2**31, 2**62):
        with pytest.raises(ValueError, match=r"in_features|col_indices"):
            native.transpose(crow, col, size)
    with pytest.raises(ValueError, match="expected keep of bytes 0 and 1"):
        native.rewire(crow, col, 40, bytes_of_two, cells)
    with pytest.raises(ValueError, match=r"expected rows in \[0, 40\)"):
        native.scan_absent(torch.ones(2, 40), crow, col, 40, 2**63 - 1, 0.5)
    with pytest.raises(ValueError, match="to be the transpose of the pattern"):
        native.ch3_l3(*PATTERN[:2], *random_pattern(40, 40, 400, seed=3)[2:4], 5, False, 0, 0, 0)


def test_resets_of_other_bytes_than_truth_values():
    resets = torch.zeros(SEQUENCE.shape[:2], dtype=torch.uint8)
    resets[1, 0] = 2
    with pytest.raises(ValueError, match="expected resets of bytes 0 and 1"):
        native.rnn_forward(
            SEQUENCE, None, None, None, VALUES, PATTERN, None, 0, resets.view(torch.bool)
        )


def test_a_tensor_whose_memory_was_taken_away():
    gone = VALUES.clone()
    gone.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="expected values with memory"):
        native.spmm(gone, PATTERN, X, None)


def test_running_out_of_memory_says_who_asked_for_how_much():
    message = r"sparse_engine::carry cannot allocate 4000\.00 GB .* shape \[1000000000000\]"
    with pytest.raises(MemoryError, match=message):
        native.carry(torch.zeros(1), torch.zeros(1, dtype=torch.int32), 10**12)
    with pytest.raises(MemoryError, match="sparse_engine::spmm cannot allocate"):
        native.spmm(VALUES, PATTERN, torch.zeros(40, 1).expand(40, 2**42), None)


SMALL_STACK = """
import torch
from sparse_engine.nn import SparseLinear, SparseLTC, SparseRNN

torch.set_num_threads(4)
for dtype in (torch.float32, torch.float64):
    layer = SparseLinear(600, 600, density=0.5, dtype=dtype)
    for columns in (40, 200):
        layer(torch.randn(columns, 600, dtype=dtype, requires_grad=True)).sum().backward()
for narrow in (False, True):
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        for network in (SparseRNN(8, 400, density=0.5), SparseLTC(8, 400, density=0.5)):
            h0 = torch.zeros(1, 70, 400, requires_grad=True)
            network(torch.randn(2, 70, 8), h0)[0].sum().backward()
"""


def test_threads_with_a_small_stack():
    done = subprocess.run(
        [sys.executable, "-c", SMALL_STACK],
        env={**os.environ, "OMP_STACKSIZE": "64k"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
