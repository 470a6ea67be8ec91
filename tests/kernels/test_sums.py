"""Sums over columns, and the gradients that are such sums."""

import pytest
import torch
from testing import integers
from torch.library import opcheck
from torch.testing import assert_close

from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops.sums import affine, column_sums

SHAPES = [(0, 3), (3, 0), (1, 1), (7, 300), (300, 7), (257, 513), (40, 5000)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_whole_numbers_are_summed_exactly(shape, dtype):
    x = integers(*shape, dtype=dtype, most=2)
    expected = x.double().sum(1)
    for same in (x, x.t().contiguous().t(), torch.cat([x, x], 1)[:, : shape[1]]):
        assert torch.equal(column_sums(same).double(), expected)


def test_derivatives():
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    opcheck(native.column_sums.default, (x,))
    leaves = [torch.randn(*n, 4, dtype=torch.float64, requires_grad=True) for n in ((3, 2), (), ())]
    for which in ((0, 1, 2), (0, 1), (0, 2)):
        chosen = [leaves[i] if i in which else None for i in range(3)]
        given = [each for each in chosen if each is not None]

        def run(*tensors, which=which):
            held = dict(zip(which, tensors, strict=True))
            return affine(*(held.get(i) for i in range(3)))

        assert torch.autograd.gradcheck(run, given)
        assert torch.autograd.gradgradcheck(run, given)


def test_affine_is_that_of_torch():
    x, gain, bias = torch.randn(3, 2, 4), torch.randn(4), torch.randn(4)
    assert_close(affine(x, gain, bias), x * gain + bias)
    assert_close(affine(x, None, bias), x + bias)
    assert_close(affine(x, gain, None), x * gain)
