"""SparseWeight: constructors, views, and what they refuse."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from testing import assert_valid, patterns, random_pattern, refusals
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern


def weight_of(rows=30, cols=20, nnz=100, seed=0):
    return SparseWeight(torch.randn(nnz), random_pattern(rows, cols, nnz, seed=seed))


@given(pattern=patterns())
def test_views(pattern):
    values = torch.rand(pattern.nnz) + 0.5
    weight = SparseWeight.from_csr(pattern.crow, pattern.col, values, pattern.shape)
    dense = pattern.dense(values)
    assert torch.equal(weight.to_dense(), dense)
    assert torch.equal(weight.to_torch_csr().to_dense(), dense)
    assert torch.equal(weight.fan_in(), (dense != 0).sum(1))
    assert torch.equal(weight.fan_out(), (dense != 0).sum(0))
    assert torch.equal(weight.rows(), dense.nonzero()[:, 0])
    assert (weight.shape, weight.nnz) == (pattern.shape, pattern.nnz)
    assert_close(weight.density, pattern.nnz / dense.numel())
    assert torch.equal(SparseWeight.from_dense(dense).to_dense(), dense)
    assert_valid(weight)


@given(pattern=patterns())
def test_from_coo_in_any_order(pattern):
    values, order = torch.randn(pattern.nnz), torch.randperm(pattern.nnz)
    rows, cols = pattern.rows()[order], pattern.col[order]
    weight = SparseWeight.from_coo(rows, cols, values[order], pattern.shape)
    assert torch.equal(weight.to_dense(), pattern.dense(values))
    assert_valid(weight)


def test_the_csr_view_shares_the_values():
    weight = weight_of()
    weight.to_torch_csr().values().zero_()
    assert weight.values.count_nonzero() == 0


def test_the_dense_view_is_differentiable():
    weight, upstream = weight_of(), torch.randn(30, 20)
    weight.to_dense().backward(upstream)
    assert torch.equal(weight.values.grad, upstream[weight.rows(), weight.col_indices.long()])


@pytest.mark.parametrize("kind", [torch.bool, torch.float32, torch.int64])
def test_a_mask_keeps_zeros_as_links(kind):
    mask = torch.rand(9, 7) < 0.3
    weight = SparseWeight.from_dense(torch.zeros(9, 7), mask.to(kind))
    assert weight.nnz == int(mask.sum())
    assert torch.equal(weight.pattern.dense(torch.ones(weight.nnz)) != 0, mask)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_constructors_share_no_memory_with_their_arguments(dtype):
    pattern, values = random_pattern(30, 20, 100), torch.randn(100)
    crow, col, rows = (t.clone() for t in (pattern.crow, pattern.col.to(dtype), pattern.rows()))
    made = [
        SparseWeight.from_csr(crow, col, values, (30, 20)),
        SparseWeight.from_coo(rows, col, values, (30, 20)),
    ]
    before = made[0].to_dense().detach()
    for tensor in (crow, col, rows, values):
        tensor.zero_()
    for weight in made:
        assert_valid(weight)
        assert torch.equal(weight.to_dense(), before)


def coo(*lists):
    return lambda: SparseWeight.from_coo(*map(torch.tensor, lists), (2, 2))


def dense(*shapes, dtype=torch.float32):
    return lambda: SparseWeight.from_dense(*(torch.ones(shape, dtype=dtype) for shape in shapes))


ONE_LENGTH = "rows, cols and values of one length"
test_what_makes_no_weight_is_refused = refusals(
    ("duplicate link", coo([0, 0], [1, 1], [1.0, 1.0])),
    (r"rows in \[0, 2\), found 2 at position 1", coo([0, 2], [1, 1], [1.0, 1.0])),
    (r"rows in \[0, 2\), found -1 at position 1", coo([0, -1], [1, 1], [1.0, 1.0])),
    (r"cols in \[0, 2\), found 3 at position 1", coo([0, 1], [1, 3], [1.0, 1.0])),
    (ONE_LENGTH, coo([0], [1, 1], [1.0])),
    (ONE_LENGTH, coo([0], [1], [1.0, 1.0])),
    (ONE_LENGTH, coo([[0]], [[1]], [[1.0]])),
    ("expected floating-point values", coo([0], [1], [1])),
    ("rows of an integer dtype, found torch.float32", coo([0.5], [1], [1.0])),
    ("rows of an integer dtype, found torch.float32", coo([torch.nan], [1], [1.0])),
    ("col.* of an integer dtype, found torch.float32", coo([0], [1.5], [1.0])),
    ("rows of an integer dtype, found torch.bool", coo([True], [1], [1.0])),
    (r"expected a matrix, found shape \[3\]", dense(3)),
    (r"expected a matrix, found shape \[3, 3, 3\]", dense((3, 3, 3))),
    (r"a mask of shape \[3, 3\], found \[2, 3\]", dense((3, 3), (2, 3))),
    (r"a mask of shape \[3, 3\], found \[3\]", dense((3, 3), 3)),
    ("expected floating-point values", dense((3, 3), dtype=torch.int64)),
    (
        r"values of shape \[5\], found torch.float32 of shape \[4\]",
        lambda: SparseWeight(torch.ones(4), random_pattern(3, 3, 5)),
    ),
)


@pytest.mark.parametrize("nnz", [100, 60, 0])
def test_set_pattern(nnz):
    weight = weight_of()
    storage, parameter = weight.values.data_ptr(), weight.values
    pattern = random_pattern(30, 20, nnz, seed=9)
    weight.set_pattern(pattern, torch.ones(nnz))
    assert weight.values is parameter and weight.topology_version == 1
    assert (weight.values.data_ptr() == storage) == (nnz == 100)
    assert torch.equal(weight.to_dense(), pattern.dense(torch.ones(nnz)))
    assert_valid(weight)


@pytest.mark.parametrize("count", [800, 840])
def test_set_pattern_with_long_rows(count):
    """The plan of the rows that a GPU cuts into pieces is written in place where links are."""
    short, links = random_pattern(90, 900, 800), torch.arange(count)
    weight = SparseWeight(torch.ones(800), short)
    plan, address = weight.pattern.plan.clone(), weight.pattern.plan.data_ptr()
    long = SparseWeight.from_coo(links // 420, links % 420, torch.ones(count), (90, 900)).pattern
    weight.set_pattern(long, torch.ones(count))
    assert (weight.pattern.plan.data_ptr() == address) == (count == 800)
    assert plan[:, 0].tolist() == [0, 0] and weight.pattern.plan[:, 0].tolist() == [4, 0]
    assert "_plan" not in weight.state_dict()
    assert_valid(weight)


def test_set_pattern_that_does_not_fit():
    weight = weight_of()
    before = weight.to_dense()
    for pattern, count in ((random_pattern(20, 30, 100), 100), (random_pattern(30, 20, 90), 100)):
        with pytest.raises(
            ValueError, match=r"expected a pattern of shape \(30, 20\) with as many"
        ):
            weight.set_pattern(pattern, torch.ones(count))
    assert torch.equal(weight.to_dense(), before) and weight.topology_version == 0
    assert_valid(weight)


def test_only_the_values_are_a_parameter():
    weight = weight_of()
    assert [name for name, _ in weight.named_parameters()] == ["values"]
    assert isinstance(weight.values, nn.Parameter) and weight.values.dim() == 1
    assert isinstance(weight.pattern, Pattern)
    assert repr(weight) == "SparseWeight(30 x 20, nnz=100, density=0.1667)"


REPLACED_WHILE_READ = """
import threading
import torch
from sparse_engine.nn import SparseRNN, SparseWeight

torch.set_num_threads(1)
network, x = SparseRNN(4, 1000, density=0.4), torch.randn(30, 8, 4)
ran, over = [0, 0], threading.Event()


def forward(thread):
    with torch.no_grad():
        while not over.is_set():
            try:
                network(x)
            except ValueError:  # links of one pattern with the values of another
                pass
            ran[thread] += 1


threads = [threading.Thread(target=forward, args=(each,)) for each in range(2)]
for thread in threads:
    thread.start()
for number in range(6):
    # A forward pass that one replacement finds under way has ended at the next.
    before = [*ran]
    while min(now - then for now, then in zip(ran, before)) < 2:
        over.wait(0.01)
    other = SparseWeight.erdos_renyi(1000, 1000, density=0.2 * (1 + number % 2))
    network.weight_hh_l0.set_pattern(other.pattern, other.values.detach())
over.set()
for thread in threads:
    thread.join()
"""


@pytest.mark.exhaustive
def test_links_are_replaced_by_another_number_while_threads_run_forward():
    """Memory that is given back is no longer mapped, so that a kernel that reads it is killed."""
    unmapping = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", REPLACED_WHILE_READ], env=unmapping, check=True, timeout=300
    )
