"""Results have the same bits for any number of threads."""

import pytest
import torch

from sparse_engine import ops
from sparse_engine.nn import SparseRNN, SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.testing import random_pattern
from sparse_engine.topology import SET


def recurrence(dtype, batch):
    network = SparseRNN(
        8, 500, density=0.1, dtype=dtype, generator=torch.Generator().manual_seed(0)
    )
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(12, batch, 8, dtype=dtype, generator=generator, requires_grad=True)
    h0 = torch.randn(1, batch, 500, dtype=dtype, generator=generator, requires_grad=True)
    y, h_n = network(x, h0)
    y.backward(torch.randn(y.shape, dtype=dtype, generator=generator))
    return [y, h_n, x.grad, h0.grad, *(p.grad for p in network.parameters())]


def products(dtype, columns):
    pattern = random_pattern(400, 600, 24_000)
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(24_000, dtype=dtype, generator=generator)
    x = torch.randn(columns, 600, dtype=dtype, generator=generator).t()
    y = torch.randn(400, columns, dtype=dtype, generator=generator)
    return [
        ops.spmm(values, pattern, x),
        ops.spmm_t(values, pattern, y),
        ops.sddmm(pattern, y, x),
    ]


def rewiring(dtype, _):
    pattern = random_pattern(3000, 3000, 400_000)
    weight = SparseWeight(torch.randn(400_000, dtype=dtype), pattern)
    with torch.no_grad():
        weight.values.copy_(torch.sin(torch.arange(400_000.0, dtype=dtype)))
    rule = SET(weight, None, every=1)
    rule.step()
    dense_sample = ops.sample_absent(weight.pattern.links, 8_000_000, RandomKey(1))
    return [*weight.pattern, weight.values, dense_sample]


@pytest.mark.parametrize("work", [recurrence, products, rewiring])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 19, 100])
def test_same_bits(work, dtype, batch, threads):
    if work is rewiring and batch > 1:
        pytest.skip("a rewiring has no batch")
    threads(1)
    alone = work(dtype, batch)
    for count in (2, 3):
        threads(count)
        for one, many in zip(alone, work(dtype, batch), strict=True):
            assert torch.equal(one, many)
