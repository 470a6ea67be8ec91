"""Products with X in shared memory: when, and in which parts.

Their results are looked at with those of all products.
"""

import ctypes
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from testing import hub_pattern
from torch.testing import assert_close

ROOT = Path(__file__).resolve().parents[3]
# Multiprocessors, and bytes of shared memory of a block.
H100, RTX_4090 = (132, 227 << 10), (128, 99 << 10)
DEVICES = pytest.mark.parametrize("device", [H100, RTX_4090], ids=["H100", "RTX 4090"])
ROW = 4 * 32  # bytes of a row of a panel


class Tiling(NamedTuple):
    columns: int
    parts: int
    cuts: int
    busy: int  # of 1000


@pytest.fixture(scope="module")
def tiling(simulated, simulated_library):
    """The tiling of a product."""
    function = ctypes.CDLL(str(simulated_library)).tiling_of
    function.argtypes = [*[ctypes.c_int64] * 8, ctypes.c_void_p]

    def run(*sizes: int) -> Tiling:
        found = (ctypes.c_int64 * 4)()
        function(*sizes, found)
        return Tiling(*found)

    return run


@pytest.mark.parametrize(
    ("neurons", "density", "panels", "staged"),
    [
        (16_384, 0.05, 1, True),
        (16_384, 0.01, 1, False),
        (16_384, 0.001, 1, False),
        (16_384, 0.05, 4, True),
        (4096, 0.05, 1, False),
        (4096, 0.01, 1, False),
        (4096, 0.02, 4, False),
        (1024, 0.1, 4, False),  # the first-level cache does it by itself
        (100_000, 0.001, 1, False),
        # The gradient, over 50 steps, until a device shows that it pays.
        (16_384, 0.01, 50, False),
        (16_384, 0.001, 50, False),
        (4096, 0.05, 50, False),
        (100_000, 0.001, 50, False),
    ],
)
@DEVICES
def test_the_choice(tiling, monkeypatch, neurons, density, panels, staged, device):
    monkeypatch.delenv("SPARSE_ENGINE_STAGED", raising=False)
    links, in_turn = int(density * neurons**2), panels == 50
    found = tiling(neurons, neurons, links, panels, ROW, in_turn, *device)
    assert (found.columns > 0) == staged


@DEVICES
@pytest.mark.parametrize("batch", [1, 32, 128])
def test_the_model_of_the_benchmark_chooses_the_same(tiling, monkeypatch, batch, device):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.gpu.model import H100 as A
    from benchmarks.gpu.model import RTX_4090 as B
    from benchmarks.gpu.model import Weight

    monkeypatch.delenv("SPARSE_ENGINE_STAGED", raising=False)
    on = A if device == H100 else B
    assert (on.processors, on.tile) == device
    for neurons in (1024, 4096, 16_384, 100_000):
        for density in (0.0005, 0.005, 0.02, 0.1):
            links = int(density * neurons**2)
            model = Weight(neurons, neurons, links, batch)
            found = tiling(neurons, neurons, links, model.panels, model.row, False, *device)
            assert model.is_staged(on) == (found.columns > 0), (neurons, density)


@DEVICES
def test_one_column_is_gathered_by_sectors(tiling, monkeypatch, device):
    """A link of one column reads 32 bytes where it gathers, and 4 from shared memory."""
    monkeypatch.delenv("SPARSE_ENGINE_STAGED", raising=False)
    assert tiling(100_000, 100_000, 100_000_000, 1, 4, False, *device).columns > 0
    assert tiling(16_384, 16_384, 2_684_354, 1, 4, False, *device).columns == 0


@DEVICES
@pytest.mark.parametrize("panels", [1, 4])
@pytest.mark.parametrize("in_turn", [False, True])
def test_multiprocessors_are_busy(tiling, monkeypatch, panels, in_turn, device):
    monkeypatch.setenv("SPARSE_ENGINE_STAGED", "1")
    for neurons in (4096, 16_384, 30_000):
        links = neurons**2 // 100
        assert tiling(neurons, neurons, links, panels, ROW, in_turn, *device).busy > 800


@pytest.mark.parametrize("rows", [1, 70, 5000, 1_000_000])
@pytest.mark.parametrize("cols", [1, 70, 5000, 1_000_000])
@pytest.mark.parametrize("panels", [1, 4])
def test_a_part_fits(tiling, monkeypatch, rows, cols, panels):
    for bytes_of_row in (4, ROW, 2 * ROW):
        for processors, shared_memory in (H100, RTX_4090, (2, 1 << 10)):
            sizes = (rows, cols, rows, panels, bytes_of_row, False, processors, shared_memory)
            monkeypatch.setenv("SPARSE_ENGINE_STAGED", "1")
            found = tiling(*sizes)
            assert 1 <= found.columns <= min(cols, shared_memory // bytes_of_row)
            assert found.columns * (found.parts - 1) < cols <= found.columns * found.parts
            assert 1 <= found.cuts <= rows
            monkeypatch.setenv("SPARSE_ENGINE_STAGED", "0")
            assert tiling(*sizes).columns == 0


@pytest.mark.parametrize(("name", "rows", "cols"), [("spmm", 24, 900), ("sddmm", 600, 9)])
def test_sums_are_taken_part_by_part(gpu, monkeypatch, name, rows, cols):
    """Both ways are close, but not the same bits: each does run."""
    pattern = hub_pattern(rows, cols)
    values, x, y = torch.randn(pattern.nnz), torch.randn(cols, 170), torch.randn(rows, 170)
    arguments = (values, pattern, x, None) if name == "spmm" else (pattern, y, x)
    found = []
    for staged in "01":
        monkeypatch.setenv("SPARSE_ENGINE_STAGED", staged)
        found.append(getattr(gpu, name)(*arguments))
    assert_close(*found, rtol=1e-4, atol=1e-4)
    assert not torch.equal(*found)
