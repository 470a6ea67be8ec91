"""Whatever is drawn at random differs between seeds, also where Python's hash does not."""

from itertools import combinations

import pytest
import torch

from sparse_engine.nn import SparseLTC, SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import SET, DeepR, ErdosRenyi, NormalInit, WattsStrogatz, wire
from sparse_engine.topology.grow import EqualPerGate
from sparse_engine.topology.prune import AssignedSign, SoftMagnitude

#: Of the last three, ``hash`` is 0, -2 and -2.
SEEDS = (0, 1, 2**32, 2**61 - 1, -1, -2)


def weight():
    return SparseWeight.erdos_renyi(40, 40, density=0.3, generator=torch.Generator().manual_seed(0))


def wired(rule, **options):
    model = weight()
    wire(model, rule, **options)
    return model.to_dense()


def walked(seed):
    model = weight()
    with torch.no_grad():
        model.values.fill_(5.0)
    rule = DeepR(model, torch.optim.SGD(model.parameters(), lr=0.5), temperature=0.1, seed=seed)
    rule.rewire()
    return model.to_dense().abs()


def entries_of_new_links(seed):
    model = SparseLTC(2, 30, density=0.2, generator=torch.Generator().manual_seed(0))
    SET(model, None, every=1, seed=seed).rewire()
    return torch.cat([entries.detach().sort().values for entries in model.parameters()])


DRAWS = {
    "values of new links": lambda seed: NormalInit(0.1).values(weight(), 30, RandomKey(seed)),
    "other entries of new links": entries_of_new_links,
    "soft pruning": lambda seed: SoftMagnitude().drop(weight(), 0.5, RandomKey(seed)),
    "noise": walked,
    "signs of positions": lambda seed: AssignedSign().signs(weight(), RandomKey(seed)),
    "growth by gates": lambda seed: EqualPerGate().grow(
        weight(), weight().pattern.links, 40, RandomKey(seed)
    ),
    "a random wiring": lambda seed: wired(ErdosRenyi(density=0.2), seed=seed) != 0,
    "a rewired ring": lambda seed: wired(WattsStrogatz(8, 0.5), seed=seed) != 0,
    "wired values": lambda seed: wired(ErdosRenyi(density=1.0), seed=seed),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_other_seeds_draw_other_numbers(kind):
    drawn = [DRAWS[kind](seed) for seed in SEEDS]
    assert torch.equal(drawn[1], DRAWS[kind](1))
    for (one, first), (other, second) in combinations(zip(SEEDS, drawn, strict=True), 2):
        assert not torch.equal(first, second), (one, other)


@pytest.mark.parametrize(
    "draw",
    [
        lambda key: NormalInit(0.1).values(weight(), 30, key),
        lambda key: SoftMagnitude(alpha=0.5).drop(weight(), 0.5, key),
        lambda key: EqualPerGate().grow(weight(), weight().pattern.links, 40, key),
    ],
)
def test_seed_step_and_stream_of_a_key_all_count(draw):
    drawn = [draw(RandomKey(*key)) for key in ((1, 2, 3), (0, 2, 3), (1, 0, 3), (1, 2, 0))]
    assert torch.equal(drawn[0], draw(RandomKey(1, 2, 3)))
    assert not any(torch.equal(one, other) for one, other in combinations(drawn, 2))
