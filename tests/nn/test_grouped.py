"""Tied links against plain torch: the gradient of a gain is the sum over its group."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from testing import patterns, random_pattern, refusals
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import GroupedWeight, SparseLinear, SparseRNN
from sparse_engine.topology import SET

GROUPS = 5


def grouped(pattern, groups=GROUPS, dtype=torch.float64):
    group = torch.randint(groups, (pattern.nnz,))
    base = torch.randn(pattern.nnz, dtype=dtype)
    return GroupedWeight(base, pattern, group, gain=torch.randn(groups, dtype=dtype))


def dense(weight, gain):
    """The matrix of a weight, from other gains."""
    links = gain[weight.group.long()] * weight.base
    out = weight.base.new_zeros(weight.shape)
    return out.index_put((weight.rows(), weight.col_indices.long()), links)


def assert_like_dense(weight):
    x = torch.randn(7, weight.shape[1], dtype=torch.float64)
    gain = weight.gain.detach().clone().requires_grad_()
    own, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = weight(own), nn.functional.linear(other, dense(weight, gain))
    assert_close(y, expected)
    upstream = torch.randn_like(y)
    y.backward(upstream)
    expected.backward(upstream)
    assert_close(own.grad, other.grad)
    assert_close(weight.gain.grad, gain.grad)


@given(pattern=patterns(), groups=st.integers(1, 9))
def test_any_structure(pattern, groups):
    assert_like_dense(grouped(pattern, groups))


def test_the_same_bits_for_any_number_of_threads(threads):
    weight, found = grouped(random_pattern(1000, 1000, 300_000), 7, torch.float32), []
    for count in (1, 3):
        threads(count)
        weight.zero_grad()
        weight.values.backward(torch.linspace(-1, 1, 300_000))
        found.append((weight.values.detach(), weight.gain.grad))
    assert all(map(torch.equal, *found))


def test_long_sums_are_exact():
    weight = GroupedWeight(torch.ones(1_000_000), random_pattern(1000, 1000, 1_000_000))
    upstream = torch.full((1_000_000,), 0.1)
    weight.values.backward(upstream)
    assert weight.gain.grad.item() == upstream.double().sum().float().item()


def test_a_step_compiles_without_a_break():
    model = SparseLinear(6, 9, density=0.5, dtype=torch.float64)
    model.weight = grouped(model.weight.pattern)
    twin, x = copy.deepcopy(model), torch.randn(5, 3, 6, dtype=torch.float64)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    found, expected = compiled(x), twin(x)
    assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    for own, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert_close(own.grad, other.grad)


def test_rewiring_leaves_it_alone():
    network = SparseRNN(6, 21, 2, density=0.3)
    network.weight_hh_l0 = weight = grouped(network.weight_hh_l0.pattern, dtype=torch.float32)
    optimizer = torch.optim.Adam(network.parameters())
    rule = SET(network, optimizer, every=1)
    before = weight.to_dense()
    network(torch.randn(4, 3, 6))[0].sum().backward()
    optimizer.step()
    rule.step()
    assert weight.topology_version == 0
    assert torch.equal(weight.to_dense() != 0, before != 0)
    assert network.weight_hh_l1.topology_version == network.weight_ih_l1.topology_version == 1
    with pytest.raises(ValueError, match="whose values are a Parameter, found GroupedWeight"):
        weight.set_pattern(weight.pattern, weight.values)


def of_eight(**arguments):
    return lambda: GroupedWeight(
        **{"base": torch.ones(8), "pattern": random_pattern(4, 4, 8)} | arguments
    )


EIGHT = torch.arange(8)
test_wrong_arguments_are_named = refusals(
    (r"group of shape \[8\], found \[3\]", of_eight(group=torch.zeros(3).int())),
    ("group of an integer dtype", of_eight(group=torch.zeros(8))),
    (r"group in \[0, 7\), found -1 at position 0", of_eight(group=EIGHT - 1)),
    (r"group in \[0, 7\), found 7 at position 7", of_eight(group=EIGHT, gain=torch.ones(7))),
    ("floating-point gain of shape", of_eight(gain=torch.ones(1).int())),
    (r"shape \[groups\], .* shape \[1, 1\]", of_eight(gain=torch.ones(1, 1))),
    ("floating-point values", of_eight(base=torch.ones(8).int())),
)


def test_one_group_by_default():
    weight = GroupedWeight.erdos_renyi(20, 30, density=0.1)
    assert weight.gain.tolist() == [1.0]
    assert repr(weight).endswith("nnz=60, density=0.1, frozen pattern, groups=1)")
    assert torch.equal(weight.values, weight.base)
    weight.to_dense().sum().backward()
    assert_close(weight.gain.grad[0], weight.base.sum())


def test_gains_start_at_one_and_have_the_dtype_of_the_base():
    base, group = torch.randn(8, dtype=torch.float64), torch.tensor([0, 2, 2, 3, 0, 0, 0, 2])
    weight = GroupedWeight(base, random_pattern(4, 4, 8), group)
    assert torch.equal(weight.gain, torch.ones(4, dtype=torch.float64))
    weight = GroupedWeight(base, random_pattern(4, 4, 8), group, gain=torch.ones(9))
    assert weight.gain.dtype == torch.float64
    assert weight.float().values.dtype == torch.float32
