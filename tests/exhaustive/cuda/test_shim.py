"""The stand-in for a GPU finds the mistakes that it is there to find."""

import ctypes

import pytest
import torch
from testing import random_pattern


@pytest.fixture(scope="module")
def faults(simulated, simulated_library):
    return ctypes.CDLL(str(simulated_library))


def test_a_barrier_that_some_threads_miss_is_an_error(faults):
    assert faults.every_thread_at_the_barrier() == 0
    assert faults.half_a_block_at_the_barrier() != 0
    assert faults.half_a_warp_in_a_shuffle() != 0
    assert faults.half_a_grid_at_its_barrier() != 0


def test_a_race_shows_in_the_order_of_threads(faults, monkeypatch):
    ascending = faults.neighbours_without_a_barrier(), faults.neighbours_with_a_barrier()
    monkeypatch.setenv("SIMT_ORDER", "descending")
    descending = faults.neighbours_without_a_barrier(), faults.neighbours_with_a_barrier()
    assert ascending[0] != descending[0]
    assert ascending[1] == descending[1]


def test_a_launch_that_fails_leaves_no_error_behind(simulated, faults, monkeypatch):
    """PyTorch would raise it once more, as that of whatever it launches next."""
    pattern = random_pattern(6, 6, 12)
    monkeypatch.setenv("SIMT_FAILS", "1")
    with pytest.raises(RuntimeError, match="CUDA: threads missed a barrier"):
        simulated.spmm(torch.randn(12), pattern, torch.randn(6, 3), None)
    assert faults.last_error() == 0


def test_a_grid_that_does_not_fit_leaves_no_error_behind(simulated, faults, monkeypatch):
    monkeypatch.setenv("SIMT_COOPERATIVE", "busy")
    z, values = torch.randn(2, 3, 6), torch.randn(12)
    simulated.rnn_forward(z, None, None, None, values, random_pattern(6, 6, 12), None, 0)
    assert faults.last_error() == 0


def test_shuffles_of_part_of_a_warp(faults):
    assert faults.sum_of_each_quarter_warp() == 0
