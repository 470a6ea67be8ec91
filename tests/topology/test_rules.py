"""Rules of one's own: ten lines make one, and a wrong one does no damage."""

import pytest
import torch
from testing import assert_valid

from sparse_engine.nn import SparseLinear
from sparse_engine.ops.topology import sample_absent
from sparse_engine.topology import Grow, NewLinkInit, Prune, RandomGrowth, Rewiring, SignedMagnitude


class DropLast(Prune):
    def drop(self, weight, fraction, key):
        return torch.arange(weight.nnz) >= weight.nnz - int(fraction * weight.nnz)


class FirstAbsent(Grow):
    def grow(self, weight, kept, count, key):
        return sample_absent(kept, kept.absent, key)[:count]


class Numbered(NewLinkInit):
    def values(self, weight, count, key):
        return torch.arange(1.0, count + 1)


def test_rules_of_ones_own(weight_of, links_of):
    weight = weight_of(torch.randn(10), 5, 5)
    before = links_of(weight)
    kept = weight.pattern.links.positions()[:6].tolist()
    absent = [position for position in range(25) if position not in kept][:4]
    rules = {"prune": DropLast(), "grow": FirstAbsent(), "new_links": Numbered()}
    Rewiring(weight, None, **rules, fraction=0.4, every=1).step()
    expected = {position: before[position] for position in kept}
    expected |= dict(zip(absent, [1.0, 2.0, 3.0, 4.0], strict=True))
    assert links_of(weight) == expected


def grown(choose):
    """A grow rule that returns what ``choose`` makes of the links it must not touch."""

    class Wrong(Grow):
        def grow(self, weight, kept, count, key):
            return choose(kept, sample_absent(kept, count, key))

    return {"grow": Wrong()}


def dropped(choose):
    class Wrong(Prune):
        def drop(self, weight, fraction, key):
            return choose(SignedMagnitude().drop(weight, fraction, key))

    return {"prune": Wrong()}


class TooFew(NewLinkInit):
    def values(self, weight, count, key):
        return torch.zeros(count - 1)


COUNT, ORDER = r"expected \d+ positions from .* found shape", "expected cells strictly increasing"
WRONG = [
    (grown(lambda kept, cells: kept.positions()[: len(cells)]), "found an existing link at row"),
    (grown(lambda kept, cells: cells[1:]), COUNT),
    (grown(lambda kept, cells: cells[None]), COUNT),
    (grown(lambda kept, cells: cells.flip(0)), ORDER),
    (grown(lambda kept, cells: cells.clamp(max=cells[0])), ORDER),
    (grown(lambda kept, cells: cells + 1200), ORDER),
    (grown(lambda kept, cells: cells - 1200), ORDER),
    (grown(lambda kept, cells: cells.int()), "cells of dtype int64, found int32"),
    (dropped(lambda gone: gone[1:]), "expected dropped of shape"),
    (dropped(lambda gone: gone.int()), "expected dropped of dtype bool, found int32"),
    ({"new_links": TooFew()}, "shape mismatch"),
]


@pytest.mark.parametrize(("rules", "message"), WRONG)
def test_a_wrong_rule_is_refused_and_nothing_changes(rules, message):
    layer = SparseLinear(40, 30, density=0.2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.randn(8, 40)).square().sum().backward()
    optimizer.step()
    values = layer.weight.values
    state = optimizer.state[values]
    tensors = [*layer.weight.pattern, values, values.grad, state["exp_avg"], state["exp_avg_sq"]]
    before = [tensor.detach().clone() for tensor in tensors]
    rules = {"prune": SignedMagnitude(), "grow": RandomGrowth()} | rules
    rule = Rewiring(layer, optimizer, **rules, fraction=0.4, every=1)
    with pytest.raises((ValueError, RuntimeError), match=message):
        rule.step()
    for tensor, old in zip(tensors, before, strict=True):
        assert torch.equal(tensor, old)
    assert layer.weight.topology_version == 0
    assert_valid(layer.weight)
