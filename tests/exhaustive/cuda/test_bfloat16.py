"""Activations in bfloat16 on the GPU against those on the CPU."""

import pytest
import torch
from torch.testing import assert_close

from sparse_engine.ops._dispatch.native import native
from sparse_engine.testing import (
    LAYOUTS,
    awkward_patterns,
    batch_sizes_of,
    hub_pattern,
    integers,
    laid_out,
)

PATTERNS = awkward_patterns() | {"long rows": hub_pattern(24, 900)}
# A number that is rounded is within this of itself.
HALF = 2.0**-8


def check_products(gpu, pattern, columns, layout="rows"):
    """On whole numbers, whose sums are exact in float32, so that only the last rounding is left."""
    out_features, in_features = pattern.shape
    values, bias = (integers(n, dtype=torch.float32) for n in (pattern.nnz, out_features))
    x = laid_out(integers(in_features, columns, dtype=torch.bfloat16), layout)
    y = laid_out(integers(out_features, columns, dtype=torch.bfloat16), layout)
    for name, arguments in [
        ("spmm", (values, pattern, x, bias)),
        ("spmm_t", (values, pattern, y)),
        ("sddmm", (pattern, y, x)),
    ]:
        found, wanted = getattr(gpu, name)(*arguments), getattr(native, name)(*arguments)
        assert found.dtype == wanted.dtype and torch.equal(found, wanted), name


@pytest.mark.usefixtures("staging")
@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("columns", [1, 3, 8, 17, 33])
def test_products(gpu, name, columns):
    check_products(gpu, PATTERNS[name], columns)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("columns", [1, 30, 64, 100])
def test_layouts(gpu, layout, columns):
    check_products(gpu, PATTERNS["uneven"], columns, layout)


@pytest.mark.parametrize("columns", [1, 16])
def test_numbers_at_the_edge_are_rounded_as_torch_rounds(gpu, columns):
    tie = 1 + 2.0**-8
    edges = [0.0, -0.0, torch.inf, -torch.inf, torch.nan, -torch.nan, 3.4e38, 1e-40, tie, -3 * tie]
    pattern, bias = hub_pattern(10, 12), torch.tensor(edges)
    y = gpu.spmm(torch.zeros(pattern.nnz), pattern, torch.zeros(12, columns).bfloat16(), bias)
    wanted = bias.bfloat16()[:, None].expand(10, columns)
    assert_close(y, wanted, rtol=0, atol=0, equal_nan=True)


def recurrence(hidden, lengths, activation):
    """The arguments of the forward operation, and of the backward one as a function."""
    pattern, batch = hub_pattern(hidden, hidden), len(lengths)
    sizes = batch_sizes_of(lengths)
    rows = sum(lengths)
    x, dh = torch.randn(rows, hidden).bfloat16(), torch.randn(rows, hidden).bfloat16()
    h0, bias = torch.randn(batch, hidden).bfloat16(), torch.randn(hidden)
    links = (torch.randn(pattern.nnz) * (hidden / pattern.nnz) ** 0.5, pattern, sizes, activation)
    return (x, None, h0, bias, *links), lambda h: (dh, h, None, h0, *links, True, True)


@pytest.mark.usefixtures("staging")
@pytest.mark.parametrize("lengths", [[3], [2] * 8, [4, 4] + [2] * 9 + [1] * 30])
@pytest.mark.parametrize("activation", [0, 1])
def test_recurrence(gpu, lengths, activation):
    forward, backward = recurrence(30, lengths, activation)
    wanted, found = native.rnn_forward(*forward), gpu.rnn_forward(*forward)
    assert found.dtype == torch.bfloat16
    assert_close(found.float(), wanted.float(), rtol=4 * HALF, atol=4 * HALF)
    gradients = zip(
        gpu.rnn_backward(*backward(wanted)), native.rnn_backward(*backward(wanted)), strict=True
    )
    for one, other in gradients:
        assert one.dtype == other.dtype and one.shape == other.shape
        assert (one - other).float().norm() <= 2 * HALF * other.float().norm()
