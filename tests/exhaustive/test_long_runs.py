"""Thousands of rewirings take no more memory than the first hundreds."""

import gc
import resource
from pathlib import Path

import pytest
import torch
from methods import build, make_method, train

from sparse_engine.topology import ITOP, SNFS, DeepR, GraNet, Tracker


def held():
    """Bytes of the process, and tensors that Python knows."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    tensors = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
    return pages * resource.getpagesize(), tensors


@pytest.mark.parametrize("method", [DeepR, SNFS, ITOP, GraNet])
def test_memory_is_bounded(method):
    """If the links of all weights stayed behind at each rewiring, they would be 67 MB."""
    parts = build(make_method(method, steps=2500, every=1), 1, hidden=128)
    Tracker(parts.rule)
    train(parts, 0, 500)
    memory, tensors = held()
    train(parts, 500, 2500)
    assert parts.rule.steps == 2500
    later, more = held()
    assert more <= tensors + 10 and later < memory + 15e6
