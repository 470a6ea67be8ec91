"""Operations have the same bits for any number of threads, and really run in several."""

import pytest
import torch
from kernels.sequences import BEGINS, FORMS, leaves_of, outcome, synapses_of
from kernels.test_quantized import quantized
from pairwise import pairwise
from testing import random_pattern, stacked

from sparse_engine import ops
from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops.sums import column_sums

pytestmark = pytest.mark.cpu

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


def fits(case):
    form, of_lengths = FORMS[case["form"]], case.get("sequences") == "lengths"
    if of_lengths and not (form.packable and case.get("begins", "never") == "never"):
        return False
    if "projected" in case["form"] and case.get("sequences") == "one":
        return False  # too little work for a second thread
    return bool(form.narrow) or case.get("dtype") != "bfloat16"


@pairwise(
    fits,
    form=[*FORMS],
    sequences={"one": (3, 1), "batch": (3, 19), "lengths": [5] * 20 + [4] * 30 + [3] * 10},
    dtype=DTYPES,
    begins={name: BEGINS[name] for name in ("never", "some")},
)
def test_sequences(form, sequences, dtype, begins, assert_same_bits):
    form = FORMS[form]
    gates = 4 if form.operation in ("lstm", "normed_lstm", "on_lstm") else 1
    packed = isinstance(sequences, list)
    arguments = form.problem(
        random_pattern(400, 400, 140_000 // gates),
        *((None, None) if packed else sequences),
        torch.promote_types(dtype, torch.float32),
        lengths=sequences if packed else None,
    )
    if dtype == torch.bfloat16:
        arguments = form.narrowed(arguments)
    if begins is not None:
        arguments["resets"] = begins(*sequences)
    # The gradient of x is the end of a product of torch's own where input weights are dense.
    wanted = [n for n in leaves_of(arguments) if n != "x" or "w_input" not in arguments]
    assert_same_bits(lambda: outcome(form.function, arguments, wanted))


@pytest.mark.parametrize("columns", [1, 19, 100])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_products(columns, dtype, assert_same_bits):
    pattern = random_pattern(800, 6000, max(110_000, 2_200_000 // columns))
    values = torch.randn(pattern.nnz, dtype=torch.promote_types(dtype, torch.float32))
    for turned in (False, True):
        x, y = (
            torch.randn(columns, n).to(dtype).t() if turned else torch.randn(n, columns).to(dtype)
            for n in (6000, 800)
        )
        assert_same_bits(
            lambda x=x, y=y: [
                ops.spmm(values, pattern, x),
                ops.spmm_t(values, pattern, y),
                ops.sddmm(pattern, y, x),
                *native.linear_backward(values, pattern, x, y),
            ]
        )


@pytest.mark.parametrize("columns", [2, 14, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_conductance(columns, dtype, assert_same_bits):
    pattern = random_pattern(400, 400, 20_000)
    x, synapses = torch.randn(columns, 400, dtype=dtype), synapses_of(20_000, dtype)
    arguments = {"x": x, "synapses": synapses, "pattern": pattern}
    assert_same_bits(lambda: outcome(ops.conductance, arguments))


def test_quantized(assert_same_bits):
    _, links = quantized(stacked(random_pattern(700, 700, 90_000), 4), gates=4)
    x, z = torch.randn(3, 700), torch.randn(6, 3, 2800)
    assert_same_bits(
        lambda: [
            ops.quantized.linear(x, links, gates=4),
            *ops.quantized.sequence("lstm", z, None, None, None, links, in_features=700),
        ]
    )


@pytest.mark.parametrize("shape", [(700, 7000), (8000, 700)])
def test_column_sums(shape, assert_same_bits):
    x = torch.randn(shape)
    assert_same_bits(lambda: [column_sums(x), column_sums(x.t().contiguous().t())])
