"""Saved entries of a sparse weight, and those that loading refuses."""

import pytest
import torch
from testing import assert_valid, random_pattern
from torch import nn

from sparse_engine.nn import (
    GroupedWeight,
    SparseLinear,
    SparseLTC,
    SparseWeight,
)
from sparse_engine.topology import SET


def weight_of(nnz=100, seed=0):
    return SparseWeight(torch.randn(nnz), random_pattern(30, 20, nnz, seed=seed))


def state_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_names_and_dtypes():
    dtypes = {name: tensor.dtype for name, tensor in weight_of().state_dict().items()}
    assert dtypes == {
        "values": torch.float32,
        "crow_indices": torch.int64,
        "col_indices": torch.int32,
    }


@pytest.mark.parametrize("nnz", [100, 40, 600, 0])
def test_another_topology_is_loaded(nnz):
    weight, other = weight_of(), weight_of(nnz, seed=1)
    parameter = weight.values
    weight.load_state_dict(other.state_dict())
    assert weight.values is parameter
    assert weight.topology_version == 1
    assert torch.equal(weight.to_dense(), other.to_dense())
    assert_valid(weight)
    x = torch.randn(3, 20)
    assert torch.equal(weight(x), other(x))


@pytest.mark.parametrize("nnz", [100, 40])
def test_what_is_loaded_shares_no_memory_with_the_state(nnz):
    weight, other = weight_of(), weight_of(nnz, seed=1)
    weight.load_state_dict(other.state_dict())
    before = weight.to_dense().detach()
    SET(other, None, fraction=0.5, every=1).step()
    assert_valid(weight)
    assert torch.equal(weight.to_dense(), before)


@pytest.mark.parametrize("nnz", [100, 40])
def test_values_keep_the_dtype_of_the_weight(nnz):
    weight, other = weight_of(), weight_of(nnz, seed=1).to(torch.float64)
    weight.load_state_dict(other.state_dict())
    assert weight.values.dtype == torch.float32
    assert torch.equal(weight.to_dense(), other.to_dense().float())


def test_gradients_do_not_outlive_their_links():
    weight = weight_of()
    weight.values.grad = torch.ones(100)
    weight.load_state_dict(weight_of(40, seed=1).state_dict())
    assert weight.values.grad is None
    weight(torch.randn(2, 20)).sum().backward()
    assert weight.values.grad.shape == (40,)


def unsorted(state):
    first, second = state["crow_indices"][:2]
    assert second - first >= 2
    state["col_indices"][first:second] = state["col_indices"][first:second].flip(0)


def duplicated(state):
    first = state["crow_indices"][0]
    state["col_indices"][first + 1] = state["col_indices"][first]


DAMAGES = {
    "missing values": (lambda s: s.pop("values"), r"Missing key.*{}values"),
    "missing crow": (lambda s: s.pop("crow_indices"), r"Missing key.*{}crow_indices"),
    "missing col": (lambda s: s.pop("col_indices"), r"Missing key.*{}col_indices"),
    "unsorted": (unsorted, "{}.*col_indices strictly increasing within row 0"),
    "duplicated": (duplicated, r"{}.*col_indices .* \(a duplicate link\)"),
    "too large": (lambda s: s["col_indices"].add_(100), r"{}.*col_indices in \[0, 20\), found 1"),
    "negative": (lambda s: s["col_indices"].sub_(50), r"{}.*col_indices in \[0, 20\), found -"),
    "wrapping": (
        lambda s: s.update(col_indices=s["col_indices"].long() - 2**32),
        "{}.*col_indices .*found -42949",
    ),
    "few values": (lambda s: s.update(values=torch.ones(7)), r"{}.*values of shape \[7\]"),
    "values in a matrix": (
        lambda s: s.update(values=torch.ones(100, 1)),
        r"{}.*values of shape \[100, 1\]",
    ),
    "few col": (lambda s: s.update(col_indices=s["col_indices"][:-1]), "{}.*crow_indices"),
    "few crow": (
        lambda s: s.update(crow_indices=torch.zeros(3).long()),
        r"{}.*crow_indices of shape \[31\], found \[3\]",
    ),
    "another shape": (
        lambda s: s.update(crow_indices=torch.cat([s["crow_indices"], torch.tensor([100])])),
        r"{}.*crow_indices of shape \[31\], found \[32\]",
    ),
    "decreasing crow": (lambda s: s["crow_indices"][3].sub_(50), "{}.*crow_indices"),
    "float col": (
        lambda s: s.update(col_indices=torch.rand(100)),
        "{}.*col_indices of an integer dtype, found torch.float32",
    ),
    "nan col": (
        lambda s: s.update(col_indices=torch.full((100,), torch.nan)),
        "{}.*col_indices of an integer dtype, found torch.float32",
    ),
    "float crow": (
        lambda s: s.update(crow_indices=s["crow_indices"].double()),
        "{}.*crow_indices of an integer dtype, found torch.float64",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_weight_inside_a_model_is_named_and_not_half_loaded(damage):
    change, message = DAMAGES[damage]
    model = nn.Sequential(SparseLinear(20, 30, density=1 / 6), nn.Linear(30, 2))
    before, other = state_of(model), state_of(weight_of(seed=1))
    change(other)
    state = {name: tensor for name, tensor in before.items() if "0.weight" not in name}
    state |= {f"0.weight.{name}": tensor for name, tensor in other.items()}
    with pytest.raises(RuntimeError, match=f"(?s){message.format('0.weight.')}"):
        model.load_state_dict(state)
    assert_same(model.state_dict(), before)
    assert_valid(model[0].weight)


def test_unexpected_entries_are_named():
    weight = weight_of()
    with pytest.raises(RuntimeError, match=r"Unexpected key.*extra"):
        weight.load_state_dict(state_of(weight) | {"extra": torch.ones(1)})
    assert_valid(weight)


def test_not_strict_loads_whole_weights_only():
    weight, state = weight_of(), state_of(weight_of(seed=1))
    before = state_of(weight)
    partial = {name: tensor for name, tensor in state.items() if name != "values"}
    weight.load_state_dict(partial, strict=False)
    assert_same(weight.state_dict(), before)
    weight.load_state_dict(state | {"extra": torch.ones(1)}, strict=False)
    assert_same(weight.state_dict(), state)


def grouped():
    weight = weight_of()
    return GroupedWeight(weight.values, weight.pattern, torch.arange(weight.nnz) % 3)


WEIGHTS = {
    "conductance": lambda: SparseLTC(6, 20, density=0.3).weight_hh_l0,
    "grouped": grouped,
}


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.int32, torch.bool])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_other_numbers_than_real_ones_are_refused_for_every_number_of_a_link(kind, dtype, assign):
    module = WEIGHTS[kind]()
    before = state_of(module)
    for name in [name for name, each in before.items() if each.is_floating_point()]:
        wrong = before | {name: before[name].to(dtype)}
        last = name.rpartition(".")[2]
        with pytest.raises(RuntimeError, match=f"expected {last} of a floating-point .* {dtype}"):
            module.load_state_dict(wrong, assign=assign)
        if not assign:
            assert state_of(module)[name].dtype == before[name].dtype
            assert torch.equal(state_of(module)[name], before[name])
