"""Pruning by gradients, by neurons and by gates, read word for word."""

import numpy as np
import pytest
import torch
from testing import awkward_patterns, refusals

from sparse_engine.nn import SparseLinear, SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import Magnitude, Prune, RandomGrowth, Rewiring, SignedMagnitude, prune


def literal_importance(weight, share=None, threshold=None):
    rows, values = weight.rows().numpy(), weight.values.detach().numpy()
    importance = {row: np.abs(values[rows == row]).sum() for row in sorted(set(rows))}
    if share is None:
        fallen = {row for row, sum_ in importance.items() if sum_ <= threshold}
    else:
        fallen = set(sorted(importance, key=importance.get)[: int(share * len(importance))])
    return [row in fallen for row in rows]


@pytest.mark.parametrize("name", awkward_patterns())
@pytest.mark.parametrize("limit", [{"share": 0.4}, {"threshold": 6.0}])
def test_awkward_patterns_with_ties(name, limit):
    pattern = awkward_patterns()[name]
    weight = SparseWeight(torch.randint(-2, 3, (pattern.nnz,)).double(), pattern)
    dropped = prune.NeuronImportance(**limit).drop(weight, 0.3, RandomKey(0))
    assert dropped.tolist() == literal_importance(weight, **limit)


def test_a_sum_equal_to_the_threshold_falls():
    weight = SparseWeight.from_dense(torch.tensor([[1.0, -2.0], [3.5, 0.0]]))
    dropped = prune.NeuronImportance(threshold=3.0).drop(weight, 0.0, RandomKey(0))
    assert dropped.tolist() == [True, True, False]


def test_sums_are_not_rounded_as_the_values_are():
    large = 2.0**24
    weight = SparseWeight.from_dense(torch.tensor([[large, 1.0, 1.0], [large, 1.0, 0.0]]))
    dropped = prune.NeuronImportance(0.5).drop(weight, 0.0, RandomKey(0))
    assert dropped.tolist() == [False, False, False, True, True]


def literal_gates(weight, gates, fraction):
    rows, values = weight.rows().numpy(), np.abs(weight.values.detach().numpy())
    gone = np.zeros(len(values), bool)
    for gate in range(gates):
        inside = np.flatnonzero(rows // (weight.shape[0] // gates) == gate)
        order = inside[np.argsort(values[inside], kind="stable")]
        gone[order[: int(fraction * len(order))]] = True
    return gone


@pytest.mark.parametrize("gates", [1, 2, 5, 10])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 1.0])
def test_gates_literally(gates, fraction, weight):
    weight = SparseWeight(weight.values, weight.pattern)
    weight.blocks = [weight.shape[0] // gates] * gates
    dropped = prune.PerGate(Magnitude()).drop(weight, fraction, RandomKey(0))
    assert np.array_equal(dropped.numpy(), literal_gates(weight, gates, fraction))


def test_the_gradient_reaches_the_rule_within(weight_of):
    weight = weight_of(torch.ones(16), 4, 4)
    weight.blocks = [2, 2]
    weight.values.grad = torch.arange(16.0).flip(0)
    dropped = prune.PerGate(prune.Taylor()).drop(weight, 0.25, RandomKey(0))
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
    rule, other = prune.PerGate(Counting()), prune.PerGate(Counting())
    rule.drop(weight_of(torch.ones(4), 4, 4), 0.5, RandomKey(0))
    other.load_state_dict(rule.state_dict())
    assert other.state_dict() == {"calls": 1}


test_a_rule_that_is_no_score_is_refused = refusals(
    ("made of a score alone, found SignedMagnitude", lambda: prune.PerGate(SignedMagnitude())),
    ("made of a score alone, found SoftMagnitude", lambda: prune.PerGate(prune.SoftMagnitude())),
)


RULES = [
    (prune.GradientMagnitude(0.5), lambda w, g: np.abs(w) + 0.5 * np.abs(g)),
    (prune.GradientMagnitude(0.0), lambda w, g: np.abs(w)),
    (prune.Taylor(), lambda w, g: (w * g) ** 2),
]


@pytest.mark.parametrize(("rule", "score"), RULES)
@pytest.mark.parametrize("fraction", [0.0, 0.29, 0.5, 1.0])
@pytest.mark.parametrize("whole", [True, False])
def test_literally(rule, score, fraction, whole, weight):
    gradient = torch.randn(weight.nnz, dtype=torch.float64)
    weight.values.grad = gradient.round() if whole else gradient
    order = score(weight.values.detach().numpy(), weight.values.grad.numpy())
    expected = np.zeros(weight.nnz, bool)
    expected[np.argsort(order, kind="stable")[: int(fraction * weight.nnz)]] = True
    dropped = rule.drop(weight, fraction, RandomKey(0))
    assert np.array_equal(dropped.numpy(), expected)


def test_products_too_small_to_square_are_still_told_apart(weight_of):
    weight = weight_of(torch.tensor([3e-15, 2e-15, 1e-15]), 2, 2)
    weight.values.grad = torch.full((3,), 1e-15)
    assert prune.Taylor().drop(weight, 0.5, RandomKey(0)).tolist() == [False, False, True]


@pytest.mark.parametrize("rule", [prune.GradientMagnitude(1.0), prune.Taylor()])
def test_they_see_the_gradient_of_the_last_backward_pass(rule):
    layer = SparseLinear(12, 10, density=0.3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    rewiring = Rewiring(layer, optimizer, prune=rule, grow=RandomGrowth(), every=1)
    layer(torch.randn(5, 12)).square().sum().backward()
    optimizer.step()
    kept = ~rule.drop(layer.weight, 0.3, RandomKey(0))
    assert not torch.equal(~kept, Magnitude().drop(layer.weight, 0.3, RandomKey(0)))
    survivors = layer.weight.values.detach()[kept]
    rewiring.step()
    assert torch.equal(layer.weight.values[layer.weight.values != 0], survivors)


@pytest.mark.parametrize("rule", [prune.GradientMagnitude(1.0), prune.Taylor()])
def test_without_a_gradient_the_error_says_what_to_do(rule, weight_of):
    with pytest.raises(ValueError, match=r"found None: .*before optimizer.zero_grad\(\)"):
        rule.drop(weight_of(torch.randn(5), 3, 3), 0.3, RandomKey(0))
