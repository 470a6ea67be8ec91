"""Threads that write to a pattern while another one's operation reads it."""

import pytest
from fresh_process import run_script

pytestmark = pytest.mark.cpu

# Row pointers that give nearly all links to the first rows, and to the last ones: a kernel that
# read some of each would visit far more links than there are.
SCRIPT = """
import sys, threading, time
import torch
from sparse_engine.ops import Pattern
from sparse_engine.ops._dispatch.native import native

torch.set_num_threads(2)
UNITS = 600

def triangle(lower):
    cells = torch.ones(UNITS, UNITS, dtype=torch.bool).tril(-1)
    rows, cols = (cells if lower else cells.flip(0, 1)).nonzero(as_tuple=True)
    crow = torch.nn.functional.pad(torch.bincount(rows, minlength=UNITS).cumsum(0), (1, 0))
    return Pattern.from_csr(crow, cols, (UNITS, UNITS))

patterns = [triangle(True), triangle(False)]
shared = Pattern(*(part.clone() for part in patterns[0]))
values, x = torch.randn(shared.nnz), torch.randn(4, 32, UNITS)
flat = x.reshape(-1, UNITS).t()
operations = {
    "spmm": lambda: native.spmm(values, shared, flat, None),
    "spmm, rows together": lambda: native.spmm(values, shared, flat.repeat(1, 4), None),
    "spmm_t": lambda: native.spmm_t(values, shared, flat),
    "sddmm": lambda: native.sddmm(shared, flat, flat),
    "linear_backward": lambda: native.linear_backward(values, shared, flat, flat),
    "rnn_backward": lambda: native.rnn_backward(
        x, x, None, None, values, shared, None, 0, True, True
    ),
    "conductance_backward": lambda: native.conductance_backward(
        x[0], x[0], x[0], values, values, values, values, shared
    ),
}
run = operations[sys.argv[1]]
stop = time.monotonic() + float(sys.argv[2])

def rewire():
    turn = 0
    while time.monotonic() < stop:
        turn = 1 - turn
        for old, new in zip(shared, patterns[turn]):
            old.copy_(new)

writer = threading.Thread(target=rewire)
writer.start()
while time.monotonic() < stop:
    try:
        run()
    except ValueError as error:  # half of one pattern and half of the other
        assert str(error).startswith("expected"), error
writer.join()
"""


@pytest.mark.parametrize(
    "operation",
    [
        "sddmm",
        "rnn_backward",
        "spmm, rows together",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("spmm", "spmm_t", "linear_backward", "conductance_backward")
        ),
    ],
)
def test_a_pattern_that_changes_during_an_operation_is_no_crash(operation):
    done = run_script(SCRIPT, operation, "1.0")
    assert done.returncode == 0, done.stderr
