"""Every operation's schema, shapes and autograd registration, as torch's own checker sees them."""

import pytest
import torch
from testing import awkward_patterns, laid_out
from torch.library import opcheck

from sparse_engine.ops._dispatch.native import native

PATTERNS = awkward_patterns()


@pytest.mark.parametrize("layout", ["rows", "strided"])
def test_products(layout):
    pattern = PATTERNS["sparse"]
    values = torch.randn(31, requires_grad=True)
    x = laid_out(torch.randn(70, 5), layout).requires_grad_()
    y = laid_out(torch.randn(100, 5), layout).requires_grad_()
    opcheck(native.spmm.default, (values, pattern, x, torch.randn(100, requires_grad=True)))
    opcheck(native.spmm.default, (values, pattern, x, None))
    opcheck(native.spmm_t.default, (values, pattern, y))
    opcheck(native.sddmm.default, (pattern, y, x))
    opcheck(native.linear_backward.default, (values, pattern, x, y))


@pytest.mark.parametrize("name", ["nothing", "ordinary"])
def test_patterns(name):
    links = PATTERNS[name].links
    opcheck(native.check_csr.default, tuple(links))
    opcheck(native.transpose.default, tuple(links))
    for count in {0, links.absent // 3, links.absent}:
        opcheck(native.sample_absent.default, (*links, None, count, 1, 2, 3))


def test_selection_and_carrying():
    scores = torch.randn(50)
    opcheck(native.smallest.default, (scores, 10, 0.0, True))
    slot_map = torch.arange(50, dtype=torch.int32)
    slot_map[::3] = -1
    opcheck(native.nearest_zero.default, (scores, 0.3))
    opcheck(native.carry.default, (scores, slot_map, 60))
    opcheck(native.carry_.default, (scores, slot_map))


def test_rewiring():
    links = PATTERNS["ordinary"].links
    keep = torch.rand(800) < 0.5
    opcheck(native.rewire.default, (*links, keep, links.positions()[~keep]))
