"""Rules that prune whole units, gates and signs, literally."""

import numpy as np
import pytest
import torch
from testing import awkward_patterns, refusals

from sparse_engine.nn import SparseLinear, SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import (
    Magnitude,
    NormalInit,
    Prune,
    RandomGrowth,
    Rewiring,
    SignedMagnitude,
    prune,
)
from sparse_engine.topology.grow import ZeroInit
from sparse_engine.topology.prune import AssignedSign, SignChange
from sparse_engine.topology.prune.sign import _hash
from sparse_engine.topology.rewiring import apply_rewiring, plan_rewiring


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


def sign(value):
    return (value > 0) - (value < 0)


class Literal:
    """The sign of each link at first sight, by position."""

    def __init__(self):
        self.signs = {}

    def drop(self, links):
        for position, value in links.items():
            self.signs[position] = self.signs.get(position) or sign(value)
        gone = [sign(value) == -self.signs[position] != 0 for position, value in links.items()]
        fallen = dict(zip(links, gone, strict=True))
        self.signs = {position: self.signs[position] for position in links if not fallen[position]}
        return gone


@pytest.mark.parametrize("new_links", [ZeroInit(), NormalInit(1.0)])
@pytest.mark.parametrize("shape", [(6, 7, 20), (6, 7, 41), (1, 1, 1), (3, 3, 0), (1, 30, 5)])
def test_literally_over_many_rewirings(shape, new_links, weight_of, links_of):
    rows, cols, nnz = shape
    weight = weight_of(torch.randn(nnz), rows, cols)
    rule, literal, turned = SignChange(), Literal(), 0
    for step in range(60):
        with torch.no_grad():
            weight.values += 0.3 * torch.randn(nnz)
            weight.values[torch.rand(nnz) < 0.1] = 0.0
        key = RandomKey(1, step, 4)
        dropped = rule.drop(weight, 0.3, key)
        assert dropped.tolist() == literal.drop(links_of(weight))
        count = int(dropped.sum())
        turned += count
        rewired = plan_rewiring(weight, dropped, count, RandomGrowth(), key)
        apply_rewiring(weight, None, rewired, new_links, key)
    assert turned > nnz / 2 or nnz == 0


def test_remembering_at_another_time(weight_of):
    weight, rule = weight_of(torch.tensor([1.0, -1.0, 2.0]), 2, 2), SignChange()
    rule.remember(weight, 3)
    with torch.no_grad():
        weight.values.neg_()
    rule.remember(weight, 3)
    assert not rule.drop(weight, 0.3, RandomKey(0, 0, 2)).any()
    assert rule.drop(weight, 0.3, RandomKey(0, 0, 3)).all()


CELLS, SIGNS = torch.tensor([1, 5, 7]), torch.tensor([1, -1, 0], dtype=torch.int8)


def test_a_foreign_memory_is_refused():
    rule = SignChange()
    rule.load_state_dict({"cells.3": CELLS, "signs.3": SIGNS})
    whole = {"cells.0": CELLS, "signs.0": SIGNS}
    for state in (
        {"cells.0": CELLS},
        {"signs.0": SIGNS},
        {"cells.0": CELLS, "signs.1": SIGNS},
        {"cells.x": CELLS, "signs.x": SIGNS},
        whole | {"signs.0": SIGNS[:2]},
        whole | {"cells.0": CELLS.flip(0)},
        whole | {"signs.0": SIGNS.float()},
        whole | {"signs.0": 1},
        whole | {"more.0": SIGNS},
    ):
        with pytest.raises(ValueError, match=r"expected cells.*signs.*found"):
            rule.load_state_dict(state)
    assert rule.state_dict().keys() == {"cells.3", "signs.3"}


def split_mix_64(seed, counter):
    mask = 2**64 - 1
    z = (seed + (counter + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_the_published_numbers_of_the_generator():
    bits = _hash(torch.arange(3), 1234567).numpy().view(np.uint64)
    assert bits.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63)])
def test_the_generator_literally(seed):
    counters = torch.tensor([0, 1, 2, 77, 2**40, 2**62, 2**63 - 1])
    expected = [split_mix_64(seed, counter) for counter in counters.tolist()]
    assert _hash(counters, seed).numpy().view(np.uint64).tolist() == expected


def test_a_sign_belongs_to_its_cell(weight_of, links_of):
    rule, key = AssignedSign(), RandomKey(3, 0, 1)
    full = weight_of(torch.zeros(200), 10, 20)
    signs = links_of(full, rule.signs(full, key))
    part = weight_of(torch.zeros(70), 10, 20)
    assert links_of(part, rule.signs(part, RandomKey(3, 99, 1))).items() <= signs.items()
    for other in (RandomKey(4, 0, 1), RandomKey(3, 0, 2)):
        differ = [
            sign != signs[position]
            for position, sign in links_of(full, rule.signs(full, other)).items()
        ]
        # 200 fair coins: within 5 standard deviations.
        assert abs(sum(differ) - 100) < 36


def test_literally_of_sign(weight):
    key = RandomKey(1, 2, 3)
    signs = AssignedSign().signs(weight, key).numpy()
    assert set(signs.tolist()) <= {-1, 1}
    dropped = AssignedSign().drop(weight, 0.3, key).numpy()
    assert np.array_equal(dropped, signs * np.sign(weight.values.detach().numpy()) == -1)
