"""Products with X in shared memory: when, and in which parts.

Their results are looked at with those of all products.
"""

import ctypes

import pytest
import torch
from torch.testing import assert_close

from sparse_engine.testing import hub_pattern

# Multiprocessors, and bytes of shared memory of a block.
H100, RTX_4090 = (132, 227 << 10), (128, 99 << 10)
ROW = 4 * 32  # bytes of a row of a panel


@pytest.fixture(scope="module")
def columns_of_a_part(simulated, simulated_library):
    """Number of columns in each part of a staged matrix, with so many columns and links; or 0."""
    function = ctypes.CDLL(str(simulated_library)).columns_of_a_part
    function.argtypes = [ctypes.c_int64] * 7
    return function


@pytest.mark.parametrize(
    ("neurons", "density", "batch", "staged"),
    [
        (16_384, 0.01, 32, True),
        (16_384, 0.001, 32, False),
        (4096, 0.05, 32, True),
        (4096, 0.01, 32, False),
        (4096, 0.02, 128, True),
        (1024, 0.1, 128, False),  # the first-level cache does it by itself
        (100_000, 0.001, 32, False),
    ],
)
@pytest.mark.parametrize("device", [H100, RTX_4090], ids=["H100", "RTX 4090"])
def test_the_choice(columns_of_a_part, monkeypatch, neurons, density, batch, staged, device):
    monkeypatch.delenv("SPARSE_ENGINE_STAGED", raising=False)
    links = int(density * neurons**2)
    columns = columns_of_a_part(neurons, neurons, links, batch // 32, ROW, *device)
    assert (columns > 0) == staged


@pytest.mark.parametrize("rows", [1, 70, 5000, 1_000_000])
@pytest.mark.parametrize("cols", [1, 70, 5000, 1_000_000])
@pytest.mark.parametrize("panels", [1, 4])
def test_a_part_fits(columns_of_a_part, monkeypatch, rows, cols, panels):
    for bytes_of_row in (4, ROW, 2 * ROW):
        for processors, shared_memory in (H100, RTX_4090, (2, 1 << 10)):
            sizes = (rows, cols, rows, panels, bytes_of_row, processors, shared_memory)
            monkeypatch.setenv("SPARSE_ENGINE_STAGED", "1")
            assert 1 <= columns_of_a_part(*sizes) <= min(cols, shared_memory // bytes_of_row)
            monkeypatch.setenv("SPARSE_ENGINE_STAGED", "0")
            assert columns_of_a_part(*sizes) == 0


def test_sums_are_taken_part_by_part(gpu, monkeypatch):
    """Both ways are close, but not the same bits: each does run."""
    pattern = hub_pattern(24, 900)
    values, x = torch.randn(pattern.nnz), torch.randn(900, 20)
    found = []
    for staged in "01":
        monkeypatch.setenv("SPARSE_ENGINE_STAGED", staged)
        found.append(gpu.spmm(values, pattern, x, None))
    assert_close(*found, rtol=1e-4, atol=1e-4)
    assert not torch.equal(*found)
