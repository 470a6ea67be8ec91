"""Sparse weights: what they are made of, and their saved entries, of every kind."""

import copy
import os
import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from testing import assert_valid, patterns, random_pattern, refusals
from torch import nn
from torch.testing import assert_close

from sparse_engine import nn as sparse
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


def grouped(values, pattern):
    group = torch.arange(pattern.nnz) % 5
    return sparse.GroupedWeight(values, pattern, group, gain=torch.rand(5).to(values) + 0.5)


#: What makes a weight of values and a pattern, and the entries that it has for each link.
KINDS = {
    "sparse": (sparse.SparseWeight, ["values"]),
    "grouped": (grouped, ["base", "group"]),
    "conductance": (sparse.ConductanceWeight, ["values", "mu", "sigma", "erev"]),
}
EVERY = pytest.mark.parametrize("kind", KINDS)


def some_weight(kind, nnz=100, seed=0, dtype=torch.float32):
    pattern = random_pattern(30, 20, nnz, seed=seed)
    return KINDS[kind][0](torch.rand(nnz, dtype=dtype) + 0.5, pattern)


def state_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def outputs_of(weight):
    y = weight(torch.ones(3, 20, dtype=weight.dtype))
    return y if isinstance(y, tuple) else (y,)


@EVERY
@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("nnz", [100, 40, 600, 0])
def test_another_topology_is_loaded(kind, nnz, assign):
    weight, other = some_weight(kind), some_weight(kind, nnz, seed=1)
    parameters, names = [*weight.parameters()], {"crow_indices", "col_indices", *KINDS[kind][1]}
    assert weight.state_dict().keys() == (names | {"gain"} if kind == "grouped" else names)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    before = state_of(other)
    weight.load_state_dict(other.state_dict(), assign=assign)
    assert weight.topology_version == 1
    assert_valid(weight)
    assert_same(weight.state_dict(), before)
    assert all(map(torch.equal, outputs_of(weight), outputs_of(other)))
    if not assign:  # gradients do not outlive their links, and no memory is shared
        for own, parameter in zip(weight.parameters(), parameters, strict=True):
            assert own is parameter and (own.grad is None) == (len(own) not in (100, 5))
        with torch.no_grad():
            for each in other.state_dict().values():
                each.zero_()
        assert_same(weight.state_dict(), before)


@EVERY
@pytest.mark.parametrize("way", [copy.deepcopy, lambda weight: pickle.loads(pickle.dumps(weight))])
def test_copies_are_independent_and_frozen_too(kind, way):
    weight = some_weight(kind)
    before, other = state_of(weight), way(weight)
    assert other.frozen_pattern == (kind == "grouped")
    with torch.no_grad():
        for each in weight.parameters():
            each.mul_(2)
    assert_same(other.state_dict(), before)
    assert not torch.equal(outputs_of(weight)[0], outputs_of(other)[0])
    weight.frozen_pattern = True
    assert way(weight).frozen_pattern and weight.state_dict().keys() == before.keys()


@EVERY
@pytest.mark.parametrize("nnz", [100, 40])
def test_values_keep_the_dtype_of_the_weight(kind, nnz):
    weight, other = some_weight(kind), some_weight(kind, nnz, 1, torch.float64)
    weight.load_state_dict(other.state_dict())
    assert weight.dtype == torch.float32
    assert torch.equal(weight.to_dense(), other.float().to_dense())


#: Changes of the indices, which weights of every kind have, and the message of each. What else a
#: pattern is checked for is in tests/kernels.
DAMAGES = {
    "no crow": (lambda s: s.pop("crow_indices"), r"Missing key.*{}crow_indices"),
    "no col": (lambda s: s.pop("col_indices"), r"Missing key.*{}col_indices"),
    "too large": (lambda s: s["col_indices"].add_(100), r"{}.*col_indices in \[0, 20\), found 1"),
    "wrapping": (
        lambda s: s.update(col_indices=s["col_indices"].long() - 2**32),
        "{}.*col_indices .*found -42949",
    ),
    "another shape": (
        lambda s: s.update(crow_indices=torch.cat([s["crow_indices"], torch.tensor([100])])),
        r"{}.*crow_indices of shape \[31\], found \[32\]",
    ),
    "float col": (
        lambda s: s.update(col_indices=torch.full((100,), torch.nan)),
        "{}.*col_indices of an integer dtype, found torch.float32",
    ),
}
OF_GROUPS = {
    "few gains": (
        lambda s: s.update(gain=torch.ones(3)),
        r"gain of shape \[5\], found gain of shape \[3\]",
    ),
    "float group": (lambda s: s.update(group=torch.rand(100)), "group of an integer dtype"),
    "a group too many": (lambda s: s["group"][7].fill_(5), r"in \[0, 5\), found 5 at position 7"),
    "a negative group": (lambda s: s["group"][7].fill_(-1), r"\[0, 5\), found -1 at position 7"),
}


def refused(kind, change, message):
    """Load a damaged weight within a model: it is named, and nothing changes."""
    model = nn.Sequential(sparse.SparseLinear(20, 30, density=1 / 6), nn.Linear(30, 2))
    model[0].weight = some_weight(kind)
    before, other = state_of(model), state_of(some_weight(kind, seed=1))
    change(other)
    state = {name: tensor for name, tensor in before.items() if "0.weight" not in name}
    state |= {f"0.weight.{name}": tensor for name, tensor in other.items()}
    for assign in (False, True):
        with pytest.raises(RuntimeError, match=f"(?s){message.replace('{}', '0.weight.')}"):
            model.load_state_dict(state, assign=assign)
        assert_same(model.state_dict(), before)
        assert_valid(model[0].weight)


@EVERY
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_indices_are_refused_and_nothing_changes(kind, damage):
    refused(kind, *DAMAGES[damage])


@EVERY
def test_damaged_entries_are_refused_and_nothing_changes(kind):
    for name in KINDS[kind][1]:
        for wrong, found in ((torch.ones(7), r"\[7\]"), (torch.ones(100, 1), r"\[100, 1\]")):
            wrong = wrong.int() if name == "group" else wrong
            refused(kind, lambda s, n=name, w=wrong: s.update({n: w}), f"{name} of shape {found}")
        refused(kind, lambda s, name=name: s.pop(name), f"Missing key.*{{}}{name}")
    for change, message in OF_GROUPS.values() if kind == "grouped" else []:
        refused(kind, change, message)


def test_states_of_another_kind_are_refused():
    for one in KINDS:
        for other in {*KINDS} - {one}:
            with pytest.raises(RuntimeError, match=r"Missing key|Unexpected key"):
                some_weight(one).load_state_dict(some_weight(other).state_dict())


@EVERY
def test_not_strict_loads_whole_weights_only(kind):
    weight, state = some_weight(kind), state_of(some_weight(kind, seed=1))
    before, first = state_of(weight), KINDS[kind][1][0]
    partial = {name: tensor for name, tensor in state.items() if name != first}
    weight.load_state_dict(partial, strict=False)
    assert_same(weight.state_dict(), before)
    more = state | {"extra": torch.ones(1)}
    with pytest.raises(RuntimeError, match=r"Unexpected key.*extra"):
        weight.load_state_dict(more)
    weight.load_state_dict(more, strict=False)
    assert_same(weight.state_dict(), state)


@EVERY
@pytest.mark.parametrize("dtype", [torch.complex64, torch.int32, torch.bool])
def test_other_numbers_than_real_ones_are_refused(kind, dtype):
    for name, each in some_weight(kind, seed=1).state_dict().items():
        if each.is_floating_point():
            message = f"expected {name} of a floating-point .* {dtype}"
            refused(kind, lambda s, n=name, e=each: s.update({n: e.to(dtype)}), message)
