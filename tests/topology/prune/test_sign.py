"""Pruning of links whose sign is wrong."""

import numpy as np
import pytest
import torch

from sparse_engine.ops import RandomKey
from sparse_engine.topology import NormalInit, RandomGrowth
from sparse_engine.topology.grow import ZeroInit
from sparse_engine.topology.prune import AssignedSign, SignChange
from sparse_engine.topology.prune.sign import _hash
from sparse_engine.topology.rewiring import apply_rewiring, plan_rewiring


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


def test_literally(weight):
    key = RandomKey(1, 2, 3)
    signs = AssignedSign().signs(weight, key).numpy()
    assert set(signs.tolist()) <= {-1, 1}
    dropped = AssignedSign().drop(weight, 0.3, key).numpy()
    assert np.array_equal(dropped, signs * np.sign(weight.values.detach().numpy()) == -1)
