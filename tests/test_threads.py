"""Results have the same bits for any number of threads.

The kernels use another thread per 32,768 multiply-adds between two barriers, and per 1,048,576 of
a product alone. Every case here has at least 100,000 and 2,200,000 of them: three threads really
run.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from testing import random_pattern

from sparse_engine import ops
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN, SparseWeight
from sparse_engine.ops import Pattern, RandomKey
from sparse_engine.topology import SET

DTYPES = (torch.float32, torch.float64)
SQUARE = random_pattern(1000, 1000, 110_000)


def gradients(module, *leaves, constants=()):
    """Results and gradients of a module, all of them but those of constants."""
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    module.zero_grad()
    results = module(*constants, *leaves)
    results = results if isinstance(results, tuple) else (results,)
    torch.autograd.backward(results, [torch.cos(result.detach()) for result in results])
    return [*results, *(leaf.grad for leaf in leaves), *(p.grad for p in module.parameters())]


def network(dtype, **options):
    made = SparseRNN(8, 1000, dtype=dtype, density=0.11, **options)
    weights = [module for module in made.modules() if isinstance(module, SparseWeight)]
    assert all(weight.nnz >= 100_000 for weight in weights if weight.shape == (1000, 1000))
    return made


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 2, 7, 19, 100])
@pytest.mark.parametrize("shape", [(2000, 2000), (800, 6000)], ids=["square", "wide"])
def test_products(shape, columns, dtype, assert_same_bits):
    rows, cols = shape
    pattern = random_pattern(rows, cols, max(110_000, 2_200_000 // columns))
    values, bias = torch.randn(pattern.nnz, dtype=dtype), torch.randn(rows, dtype=dtype)
    for turned in (False, True):
        x, y = (
            torch.randn(columns, n, dtype=dtype).t()
            if turned
            else torch.randn(n, columns).to(dtype)
            for n in (cols, rows)
        )
        assert_same_bits(
            lambda x=x, y=y: [
                ops.spmm(values, pattern, x, bias),
                ops.spmm_t(values, pattern, y),
                ops.sddmm(pattern, y, x),
            ],
        )


# A dense input weight is multiplied by torch for a batch of one, whose own bits may differ.
@pytest.mark.parametrize(
    ("batch", "input_density"), [(1, 0.5), (2, 1.0), (7, 1.0), (19, 0.5), (19, 1.0), (100, 1.0)]
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_recurrence(batch, input_density, dtype, nonlinearity, assert_same_bits):
    made = network(dtype, nonlinearity=nonlinearity, input_density=input_density)
    x, h0 = torch.randn(6, batch, 8, dtype=dtype), torch.randn(1, batch, 1000, dtype=dtype)
    if input_density < 1:
        assert_same_bits(lambda: gradients(made, x, h0))
        assert_same_bits(lambda: gradients(made, x))
    else:  # x gets its gradient by torch, whose bits differ on some processors
        assert_same_bits(lambda: gradients(made, h0, constants=(x,)))


class Flat(torch.nn.Module):
    """A network that returns its states one by one."""

    def __init__(self, network, **options):
        super().__init__()
        self.network, self.options = network, options

    def forward(self, x):
        y, last = self.network(x, **self.options)
        return y, *(last if isinstance(last, tuple) else (last,))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("input_density", [0.5, 1.0])
def test_sequences_of_different_lengths(cell, input_density, dtype, assert_same_bits):
    made = {
        "rnn": lambda: network(dtype, input_density=input_density),
        "lstm": lambda: SparseLSTM(
            8, 300, proj_size=200, density=0.5, input_density=input_density, dtype=dtype
        ),
        "gru": lambda: SparseGRU(8, 300, density=0.4, input_density=input_density, dtype=dtype),
    }[cell]()
    lengths = [6] * 20 + [5] * 30 + [2] * 40 + [1] * 10
    # Its own gradient would be the end of a product of torch's, so the input has none.
    x = torch.randn(6, 100, 8, dtype=dtype)
    module = Flat(made, lengths=lengths)
    assert_same_bits(lambda: gradients(module, constants=(x,)))


def test_network_of_two_layers_and_directions(assert_same_bits):
    made = network(torch.float32, num_layers=2, bidirectional=True, input_density=0.5)
    x = torch.randn(4, 5, 8)
    assert_same_bits(lambda: gradients(made, x))


def test_linear(assert_same_bits):
    layer = SparseLinear(3000, 400, density=0.1)
    x = torch.randn(33, 3000)
    assert_same_bits(lambda: gradients(layer, x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rewiring(dtype, assert_same_bits):
    values = torch.sin(torch.arange(400_000, dtype=dtype))
    pattern = random_pattern(3000, 3000, 400_000)

    def run():
        weight = SparseWeight(values.clone(), Pattern(*(part.clone() for part in pattern)))
        optimizer = torch.optim.SGD(weight.parameters(), lr=0.1, momentum=0.9)
        weight.values.grad = values.clone()
        optimizer.step()
        rule = SET(weight, optimizer, every=1)
        for _ in range(2):
            rule.step()
        momentum = optimizer.state[weight.values]["momentum_buffer"]
        return [*weight.pattern, weight.values.detach(), weight.values.grad, momentum]

    assert_same_bits(run)


def test_topology_operations(assert_same_bits):
    links = SQUARE.links
    keep = torch.rand(links.nnz) < 0.5
    cells = links.positions()[~keep]
    scores = torch.randn(400_000).round(decimals=2)
    slot_map = torch.where(torch.rand(400_000) < 0.5, torch.arange(400_000), -1).int()

    def run():
        rewired = ops.rewire(links, keep, cells)
        return [
            *Pattern.of(links),
            *rewired.links[:2],
            rewired.slot_map,
            rewired.born,
            ops.sample_absent(links, 300_000, RandomKey(1)),
            ops.sample_absent(links, 800_000, RandomKey(1)),
            ops.smallest(scores, 100_000, above=0.0),
            ops.carry(scores, slot_map, 400_000),
        ]

    assert_same_bits(run)


def test_calls_from_several_python_threads_do_not_disturb_each_other(threads):
    threads(2)
    made = network(torch.float32)
    inputs = [torch.randn(4, batch, 8) for batch in (1, 5, 17, 40)]

    def run(x):
        with torch.no_grad():
            return made(x)[0]

    alone = [run(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for one, many in zip(alone, pool.map(run, inputs), strict=True):
                assert torch.equal(one, many)
