"""Products and layers with quantized links, against their references and against bad arguments."""

import pytest
import torch
from testing import awkward_patterns, random_pattern, refusals, square_patterns, stacked
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.ops.quantized import GROUP_COLUMNS, QUANTIZED_CELLS, SLICE_ROWS

PATTERNS, SQUARES = awkward_patterns(), square_patterns()
native = torch.ops.sparse_engine


def dense_of(links, in_features, gates):
    rows = links.scales.numel()
    units, groups = rows // gates, -(in_features // -GROUP_COLUMNS)
    in_gate = -(units // -SLICE_ROWS)
    meeting = torch.repeat_interleave(links.ends.diff().long())
    slices = meeting // max(1, groups)
    unit = (slices % in_gate * SLICE_ROWS)[:, None] + torch.arange(SLICE_ROWS)
    row = (slices // in_gate * units)[:, None] + unit
    column = (meeting % max(1, groups) * GROUP_COLUMNS)[:, None] + links.places.long()
    held = (unit < units) & (links.codes != 0)
    dense = torch.zeros(rows, in_features)
    dense[row[held], column[held]] = links.codes[held].float()
    return dense * links.scales[:, None]


def quantized(pattern, *, gates=1, int8=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(pattern.nnz, generator=generator)
    return values, ops.quantized.quantize(values, pattern, gates=gates, int8=int8)


@pytest.mark.parametrize("int8", [True, False])
@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("gates", [1, 5])
def test_values_are_rounded_and_links_come_back(name, int8, gates):
    pattern = PATTERNS[name]
    if pattern.shape[0] % gates:
        pytest.skip("rows that the gates do not divide")
    values, links = quantized(pattern, gates=gates, int8=int8)
    links.check(pattern.shape[1], gates)
    expected, found = pattern.dense(values), dense_of(links, pattern.shape[1], gates)
    bound = expected.abs().amax(1, keepdim=True) / 254 if int8 else expected.abs() / 256
    assert ((found - expected).abs() <= bound * 1.0001).all()
    crow, col, kept = ops.quantized.dequantize(links, pattern.shape[1], gates=gates)
    again = ops.Pattern.from_csr(crow, col, pattern.shape)
    assert torch.equal(again.dense(kept), found)
    assert torch.equal(again.dense(torch.ones_like(kept)) != 0, found != 0)


def test_bfloat16_values_are_the_nearest_ones_or_refused():
    """Of every magnitude; 1 + 2^-8 lies half way between two, where the error is largest."""
    pattern = random_pattern(40, 60, 500)
    magnitudes = torch.exp2(torch.linspace(-120, 127, 500)) * torch.tensor([1.0, -1.0]).repeat(250)
    for values in (magnitudes * (1 + 2**-8), magnitudes * (1 + torch.rand(500) / 2)):
        links = ops.quantized.quantize(values, pattern, int8=False)
        found, expected = dense_of(links, 60, 1), pattern.dense(values)
        assert torch.equal(found, expected.to(torch.bfloat16).float())
        assert ((found - expected).abs() <= 2**-8 * expected.abs()).all()
    for beyond in (3.4e38, -3.4e38):
        values[7] = beyond
        with pytest.raises(ValueError, match=r"at most 3\.39e\+38 for bfloat16, found larger ones"):
            ops.quantized.quantize(values, pattern, int8=False)


@pytest.mark.parametrize("int8", [True, False])
@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("rows", [0, 1, 3, 4, 5, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(name, int8, rows, bias):
    pattern = PATTERNS[name]
    _, links = quantized(pattern, int8=int8)
    x = torch.randn(rows, pattern.shape[1])
    b = torch.randn(pattern.shape[0]) if bias else None
    expected = ops.quantized.linear.reference(x, links, b)
    assert_close(ops.quantized.linear(x, links, b), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("int8", [True, False])
@pytest.mark.parametrize("cell", QUANTIZED_CELLS)
@pytest.mark.parametrize("name", SQUARES)
def test_sequence(name, cell, int8):
    gates = QUANTIZED_CELLS[cell][1]
    pattern, hidden = stacked(SQUARES[name], gates), SQUARES[name].shape[0]
    _, links = quantized(pattern, gates=gates, int8=int8)
    clip = 0.5 if cell == "lstm" else None
    for batch in (1, 2, 4, 6):
        for given in (False, True):
            x, bias = torch.randn(3, batch, gates * hidden), torch.randn(gates * hidden)
            h0 = torch.randn(batch, hidden) / 4 if given else None
            c0 = torch.randn(batch, hidden) / 4 if given and cell == "lstm" else None
            arguments = cell, x, h0, c0, bias if given else None, links
            options = {"in_features": hidden, "cell_clip": clip if given else None}
            found = ops.quantized.sequence(*arguments, **options)
            for own, expected in zip(
                found, ops.quantized.sequence.reference(*arguments, **options), strict=True
            ):
                assert_close(own, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cell", QUANTIZED_CELLS)
def test_sequences_of_different_lengths(cell):
    gates = QUANTIZED_CELLS[cell][1]
    _, links = quantized(stacked(SQUARES["ordinary"], gates), gates=gates)
    sizes = torch.tensor([3, 2, 2, 1])
    x = torch.randn(8, gates * 33)
    arguments = cell, x, None, None, None, links
    options = {"in_features": 33, "batch_sizes": sizes}
    found = ops.quantized.sequence(*arguments, **options)
    for own, expected in zip(
        found, ops.quantized.sequence.reference(*arguments, **options), strict=True
    ):
        assert_close(own, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("int8", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_tensors_hold_kernels_stay_inside(int8, seed):
    """Random bytes as codes, places and ends: the numbers mean nothing, but no memory is left."""
    _, links = quantized(stacked(SQUARES["ordinary"], 4), gates=4, int8=int8)
    generator = torch.Generator().manual_seed(seed)
    low, high = (-(2**31), 2**31 - 1) if seed % 2 else (-3, links.codes.shape[0] + 3)
    links = links._replace(
        places=torch.randint(0, 256, links.places.shape, generator=generator, dtype=torch.uint8),
        ends=torch.randint(low, high, links.ends.shape, generator=generator, dtype=torch.int32),
    )
    for rows in (2, 9):
        ops.quantized.linear(torch.randn(rows, 33), links, gates=4)
        x = torch.randn(2, rows, 132)
        ops.quantized.sequence("lstm", x, None, None, None, links, in_features=33)
    crow, col, _ = ops.quantized.dequantize(links, 33, gates=4)
    assert ((col >= 0) & (col < 33)).all() and int(crow[-1]) == col.numel()


def links_of(**changed):
    return quantized(random_pattern(32, 20, 100))[1]._replace(**changed)


def layer(x=None, bias=None, *, gates=1, **changed):
    x = torch.randn(1, 20) if x is None else x
    return lambda: ops.quantized.linear(x, links_of(**changed), bias, gates=gates)


def sequence(cell, in_features):
    x, none = torch.randn(2, 1, 32), [None] * 3
    return lambda: ops.quantized.sequence(cell, x, *none, links_of(), in_features=in_features)


INFINITE = torch.tensor([1.0, 1.0, 1.0, torch.inf])
test_what_does_not_fit_is_refused = refusals(
    (r"codes of shape \[3, 16\]", layer(codes=torch.zeros(3, 15, dtype=torch.int8))),
    ("codes of dtype int8 or bfloat16, found float32", layer(codes=torch.zeros(3, 16))),
    ("places of shape", layer(places=torch.zeros(1, 16, dtype=torch.uint8))),
    (r"ends of shape \[3\]", layer(ends=torch.zeros(7, dtype=torch.int32))),
    ("ends of dtype int32", layer(ends=torch.zeros(3, dtype=torch.int64))),
    ("scales of dtype float32", layer(scales=torch.ones(32, dtype=torch.float64))),
    ("scales to be contiguous", layer(scales=torch.ones(64)[::2])),
    ("ends of shape", layer(torch.randn(1, 99))),
    ("divides the 32 rows", layer(gates=5)),
    ("float32, found float64", layer(torch.randn(1, 20).double())),
    ("bias of shape", layer(bias=torch.ones(3))),
    ("for inference", layer(torch.randn(1, 20, requires_grad=True))),
    ("one of", sequence("elman", 32)),
    ("recurrent weight of 1 gates, 20 x 20", sequence("tanh", 20)),
    (
        "finite values, found inf at position 3",
        lambda: ops.quantized.quantize(INFINITE, random_pattern(8, 8, 4)),
    ),
    error=(ValueError, RuntimeError),
)
