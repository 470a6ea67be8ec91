"""Saved entries of weights of every kind, and those that loading refuses."""

import copy
import pickle

import pytest
import torch
from testing import assert_valid, random_pattern
from torch import nn

from sparse_engine import nn as sparse


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


def weight_of(kind, nnz=100, seed=0, dtype=torch.float32):
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
    weight, other = weight_of(kind), weight_of(kind, nnz, seed=1)
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
    weight = weight_of(kind)
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
    weight, other = weight_of(kind), weight_of(kind, nnz, 1, torch.float64)
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
    model[0].weight = weight_of(kind)
    before, other = state_of(model), state_of(weight_of(kind, seed=1))
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
                weight_of(one).load_state_dict(weight_of(other).state_dict())


@EVERY
def test_not_strict_loads_whole_weights_only(kind):
    weight, state = weight_of(kind), state_of(weight_of(kind, seed=1))
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
    for name, each in weight_of(kind, seed=1).state_dict().items():
        if each.is_floating_point():
            message = f"expected {name} of a floating-point .* {dtype}"
            refused(kind, lambda s, n=name, e=each: s.update({n: e.to(dtype)}), message)
