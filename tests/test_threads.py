"""Networks, rewirings and several Python threads have the same bits for any number of threads.

Those of single operations are in kernels/test_threads.py.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from testing import random_pattern

from sparse_engine import ops
from sparse_engine.nn import SparseRNN, SparseWeight
from sparse_engine.ops import Pattern, RandomKey
from sparse_engine.topology import SET
from sparse_engine.topology.redistribute import ByMagnitude

DTYPES = (torch.float32, torch.float64)
SQUARE = random_pattern(1000, 1000, 110_000)


def network(**options):
    return SparseRNN(8, 1000, density=0.11, **options)


def test_network_of_two_layers_and_directions(assert_same_bits):
    made = network(num_layers=2, bidirectional=True, input_density=0.5)
    x = torch.randn(4, 5, 8, requires_grad=True)

    def run():
        made.zero_grad()
        x.grad = None
        y, last = made(x)
        torch.autograd.backward([y, last], [torch.cos(y.detach()), torch.cos(last.detach())])
        return [y, last, x.grad, *(p.grad for p in made.parameters())]

    assert_same_bits(run)


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
    weight = SparseWeight(torch.rand(SQUARE.nnz), SQUARE)
    links = SQUARE.links
    keep = torch.rand(links.nnz) < 0.5
    cells = links.positions()[~keep]
    scores = torch.randn(400_000).round(decimals=2)
    slot_map = torch.where(torch.rand(400_000) < 0.5, torch.arange(400_000), -1).int()

    def run():
        rewired = ops.topology.rewire(links, keep, cells)
        return [
            *Pattern.of(links),
            *rewired.links[:2],
            rewired.slot_map,
            rewired.born,
            ops.topology.sample_absent(links, 300_000, RandomKey(1)),
            ops.topology.sample_absent(links, 800_000, RandomKey(1)),
            ops.topology.smallest(scores, 100_000, above=0.0),
            ops.topology.carry(scores, slot_map, 400_000),
            torch.tensor(ByMagnitude().share(weight, ~keep)),
        ]

    assert_same_bits(run)


def test_calls_from_several_python_threads_do_not_disturb_each_other(threads):
    threads(2)
    made = network()
    inputs = [torch.randn(4, batch, 8) for batch in (1, 5, 17, 40)]

    def run(x):
        with torch.no_grad():
            return made(x)[0]

    alone = [run(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for one, many in zip(alone, pool.map(run, inputs), strict=True):
                assert torch.equal(one, many)
