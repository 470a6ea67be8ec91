"""Properties of every rule: exact numbers of links, valid patterns, weights left as they are."""

import pytest
import torch
from testing import assert_valid

from sparse_engine.ops import RandomKey
from sparse_engine.topology import (
    Magnitude,
    NarangRamp,
    RandomGrowth,
    Rewiring,
    SignedMagnitude,
    prune,
)
from sparse_engine.topology.grow import EqualPerGate
from sparse_engine.topology.schedule import LinearSchedule

RULES = {
    "signed magnitude": (SignedMagnitude, RandomGrowth()),
    "global magnitude": (prune.GlobalMagnitude, RandomGrowth()),
    "threshold": (lambda: prune.AdaptiveThreshold(0.5), RandomGrowth()),
    "global threshold": (lambda: prune.GlobalThreshold(0.5), RandomGrowth()),
    "Narang": (lambda: prune.NarangThreshold(NarangRamp(0, 9, 27), 0.1), RandomGrowth()),
    "sign change": (prune.SignChange, RandomGrowth()),
    "fixed sign": (prune.AssignedSign, RandomGrowth()),
    "magnitude and gradient": (lambda: prune.GradientMagnitude(2.0), RandomGrowth()),
    "Taylor": (prune.Taylor, RandomGrowth()),
    "soft": (
        lambda: prune.SoftMagnitude(LinearSchedule(0.5, 15, end=0.9), alpha=0.5),
        RandomGrowth(),
    ),
    "importance by share": (lambda: prune.NeuronImportance(0.3), RandomGrowth()),
    "importance by threshold": (lambda: prune.NeuronImportance(threshold=5.0), RandomGrowth()),
    "per gate": (lambda: prune.PerGate(Magnitude()), RandomGrowth()),
    "Selfish": (Magnitude, EqualPerGate()),
}
# 98 % dense, sparse, full, one link, none.
SHAPES = [(8, 10, 78), (12, 9, 20), (4, 4, 16), (4, 1, 1), (4, 3, 0)]


def model_of(weight_of):
    return torch.nn.ModuleList(
        weight_of(torch.randn(nnz), rows, cols) for rows, cols, nnz in SHAPES
    )


@pytest.mark.parametrize("kind", RULES)
def test_the_number_of_links_is_exact_over_30_rewirings(kind, weight_of):
    make, grow = RULES[kind]
    model = model_of(weight_of)
    moved = [0] * len(SHAPES)

    def count(name, weight, rewired):
        moved[int(name)] += int((rewired.slot_map < 0).sum())

    rule = Rewiring(model, None, prune=make(), grow=grow, every=1, observers=(count,))
    for _ in range(30):
        for weight in model:
            weight.values.data = torch.randn(weight.nnz)
            weight.values.grad = torch.randn(weight.nnz)
        rule.step()
        assert [weight.nnz for weight in model] == [nnz for _, _, nnz in SHAPES]
    for weight in model:
        assert_valid(weight)
    assert all(moved[:3])


@pytest.mark.parametrize("kind", RULES)
def test_choosing_changes_nothing_and_repeats_itself(kind, weight_of):
    make, _ = RULES[kind]
    model = model_of(weight_of)
    for weight in model:
        weight.values.grad = torch.randn(weight.nnz)
    tensors = [*model.state_dict().values(), *(weight.values.grad for weight in model)]
    before = [tensor.clone() for tensor in tensors]
    arguments = list(model), [0.3] * len(SHAPES), [RandomKey(1, 40, i) for i in range(len(SHAPES))]
    first, second = make().drop_all(*arguments), make().drop_all(*arguments)
    for weight, one, other in zip(model, first, second, strict=True):
        assert one.shape == (weight.nnz,) and one.dtype == torch.bool
        assert torch.equal(one, other)
    assert all(torch.equal(old, new) for old, new in zip(before, tensors, strict=True))


@pytest.mark.parametrize("kind", RULES)
def test_nan_is_named(kind, with_nan, weight_of):
    weights = [weight_of(torch.randn(7), 5, 5), with_nan]
    for weight in weights:
        weight.values.grad = torch.ones(weight.nnz)
    with pytest.raises(ValueError, match=r"NaN at link \d"):
        RULES[kind][0]().drop_all(weights, [0.3, 0.3], [RandomKey(0, 0, i) for i in range(2)])
