"""A cut within each gate, read word for word gate by gate."""

import numpy as np
import pytest
import torch

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import (
    Magnitude,
    PerGate,
    Prune,
    SoftMagnitude,
    Taylor,
    TwoSided,
)


def literal(weight, gates, fraction):
    rows, values = weight.rows().numpy(), np.abs(weight.values.detach().numpy())
    gone = np.zeros(len(values), bool)
    for gate in range(gates):
        inside = np.flatnonzero(rows // (weight.shape[0] // gates) == gate)
        order = inside[np.argsort(values[inside], kind="stable")]
        gone[order[: int(fraction * len(order))]] = True
    return gone


@pytest.mark.parametrize("gates", [1, 2, 5, 10])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 1.0])
def test_literally(gates, fraction, weight):
    weight = SparseWeight(weight.values, weight.pattern)
    weight.blocks = [weight.shape[0] // gates] * gates
    dropped = PerGate(Magnitude()).drop(weight, fraction, RandomKey(0))
    assert np.array_equal(dropped.numpy(), literal(weight, gates, fraction))


def test_gates_without_links():
    values = torch.tensor([[0.0, 0.0], [3.0, 1.0], [0.0, 0.0], [0.0, 2.0]])
    weight = SparseWeight.from_dense(values)
    weight.blocks = [1] * 4
    dropped = PerGate(Magnitude()).drop(weight, 0.5, RandomKey(0))
    assert dropped.tolist() == [False, True, False]


def test_a_gate_of_small_values_keeps_its_links(weight_of):
    weight = weight_of(torch.ones(64), 8, 8)
    weight.blocks = [4, 4]
    with torch.no_grad():
        weight.values[:32] *= 0.01
    joint = Magnitude().drop(weight, 0.5, RandomKey(0))
    apart = PerGate(Magnitude()).drop(weight, 0.5, RandomKey(0))
    assert [int(gone[:32].sum()) for gone in (joint, apart)] == [32, 16]


def test_the_gradient_reaches_the_rule_within(weight_of):
    weight = weight_of(torch.ones(16), 4, 4)
    weight.blocks = [2, 2]
    weight.values.grad = torch.arange(16.0).flip(0)
    dropped = PerGate(Taylor()).drop(weight, 0.25, RandomKey(0))
    assert dropped.nonzero().flatten().tolist() == [6, 7, 14, 15]


class Counting(Prune):
    """A score with a memory."""

    def __init__(self):
        self.calls = 0

    def score(self, weight):
        self.calls += 1
        return weight.values.detach()

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]


def test_the_memory_of_the_rule_within_is_saved(weight_of):
    rule, other = PerGate(Counting()), PerGate(Counting())
    rule.drop(weight_of(torch.ones(4), 4, 4), 0.5, RandomKey(0))
    other.load_state_dict(rule.state_dict())
    assert other.state_dict() == {"calls": 1}


@pytest.mark.parametrize("rule", [TwoSided(), SoftMagnitude()])
def test_a_rule_that_is_no_score_is_refused(rule):
    with pytest.raises(
        ValueError, match=f"a rule made of a score alone, found {type(rule).__name__}"
    ):
        PerGate(rule)


def test_nan_is_named(with_nan):
    with pytest.raises(ValueError, match="NaN at link 4"):
        PerGate(Magnitude()).drop(with_nan, 0.3, RandomKey(0))
