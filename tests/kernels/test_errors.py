"""Arguments that do not fit: the message says what was expected and what was found."""

import pytest
import torch

from sparse_engine import ops
from sparse_engine.testing import random_pattern

PATTERN = random_pattern(70, 100, 800)
VALUES, X, Y = torch.randn(800), torch.randn(100, 4), torch.randn(70, 4)


@pytest.mark.parametrize(
    ("values", "x", "message"),
    [
        (VALUES[:5], X, r"expected values of shape \[800\], found \[5\]"),
        (VALUES[:, None], X, r"expected values of shape \[800\], found \[800, 1\]"),
        (VALUES, X[:7], r"expected x of shape \[100, columns\], found \[7, 4\]"),
        (VALUES, X[0], r"expected x of shape \[100, columns\], found \[4\]"),
        (VALUES, X[None], r"expected x of shape \[100, columns\], found \[1, 100, 4\]"),
        (VALUES, X.double(), "expected x of dtype float32, found float64"),
        (VALUES.double(), X, "expected x of dtype float64, found float32"),
        (VALUES, X.long(), "expected x of dtype float32, found int64"),
        (VALUES.half(), X, "expected values of dtype float32 or float64, found float16"),
        (VALUES.bfloat16(), X, "expected values of dtype float32 or float64, found bfloat16"),
    ],
)
def test_spmm(values, x, message):
    for needs_grad in (False, values.is_floating_point()):
        with pytest.raises(ValueError, match=message):
            ops.spmm(values.clone().requires_grad_(needs_grad), PATTERN, x)


def test_spmm_bias():
    with pytest.raises(ValueError, match=r"expected bias of shape \[70\], found \[3\]"):
        ops.spmm(VALUES, PATTERN, X, torch.randn(3))
    with pytest.raises(ValueError, match="expected bias of dtype float32, found float64"):
        ops.spmm(VALUES, PATTERN, X, torch.randn(70).double())


def test_spmm_t():
    with pytest.raises(ValueError, match=r"expected y of shape \[70, columns\], found \[100, 4\]"):
        ops.spmm_t(VALUES, PATTERN, X)


def test_sddmm():
    with pytest.raises(ValueError, match="same number of columns, found 4 and 5"):
        ops.sddmm(PATTERN, Y, torch.randn(100, 5))
    with pytest.raises(ValueError, match=r"expected a of shape \[70, columns\], found \[100, 4\]"):
        ops.sddmm(PATTERN, X, Y)
    with pytest.raises(ValueError, match="expected b of dtype float32, found float64"):
        ops.sddmm(PATTERN, Y, X.double())


@pytest.mark.cpu
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"col": PATTERN.col[:-1]}, "expected crow_indices to run from 0 to the 799 links"),
        ({"col": PATTERN.col.long()}, "expected col_indices of dtype int32, found int64"),
        ({"crow": PATTERN.crow.int()}, "expected crow_indices of dtype int64, found int32"),
        ({"crow": PATTERN.crow[:0]}, r"expected crow_indices of shape \[out_features \+ 1\]"),
        ({"permutation": PATTERN.permutation[1:]}, r"permutation of shape \[800\], found \[799\]"),
        ({"t_col": PATTERN.t_col[1:]}, "to run from 0 to the 799 links"),
        ({"plan": PATTERN.plan[:1]}, r"expected plan of shape \[2, 13\], found \[1, 13\]"),
        ({"plan": PATTERN.plan.long()}, "expected plan of dtype int32, found int64"),
        ({"col": PATTERN.col.repeat_interleave(2)[::2]}, "col_indices to be contiguous"),
    ],
)
def test_a_pattern_that_does_not_hang_together(damage, message):
    pattern = PATTERN._replace(**damage)
    for run in (
        lambda: ops.spmm(VALUES, pattern, X),
        lambda: ops.spmm_t(VALUES, pattern, Y),
        lambda: ops.sddmm(pattern, Y, X),
    ):
        with pytest.raises(ValueError, match=message):
            run()
