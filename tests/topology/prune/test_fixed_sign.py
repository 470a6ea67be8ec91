"""A sign for every cell: a known generator, fair, and a function of the cell alone."""

import numpy as np
import pytest
import torch

from sparse_engine.ops import RandomKey
from sparse_engine.testing import assert_valid
from sparse_engine.topology import Dynamic, FixedSign, Uniform
from sparse_engine.topology.prune.fixed_sign import _hash


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
    rule, key = FixedSign(), RandomKey(3, 0, 1)
    full = weight_of(torch.zeros(200), 10, 20)
    signs = links_of(full, rule.signs(full, key))
    part = weight_of(torch.zeros(70), 10, 20)
    assert links_of(part, rule.signs(part, RandomKey(3, 99, 1))).items() <= signs.items()
    for other in (RandomKey(4, 0, 1), RandomKey(3, 0, 2)):
        differ = [
            sign != signs[cell] for cell, sign in links_of(full, rule.signs(full, other)).items()
        ]
        # 200 fair coins: within 5 standard deviations.
        assert abs(sum(differ) - 100) < 36


def test_runs_of_earlier_releases_keep_their_signs(weight_of):
    """Those saved no state of the rule, and seeded the signs otherwise."""
    weight, key = weight_of(torch.zeros(70), 10, 20), RandomKey(3, 0, 1)
    new, old, resumed = FixedSign(), FixedSign(), FixedSign()
    old.load_state_dict({})
    bits = _hash(weight.pattern.links.cells(), hash((3, 1)))
    assert torch.equal(old.signs(weight, key), (bits >= 0) * 2 - 1)
    assert not torch.equal(old.signs(weight, key), new.signs(weight, key))
    for rule in (old, new):
        resumed.load_state_dict(rule.state_dict())
        assert torch.equal(resumed.signs(weight, key), rule.signs(weight, key))
    with pytest.raises(ValueError, match="expected signs by philox"):
        old.load_state_dict({"signs": "dice"})


def test_the_signs_are_fair_and_independent(weight_of):
    weight = weight_of(torch.zeros(40_000), 200, 200)
    signs = FixedSign().signs(weight, RandomKey(0)).double().view(200, 200)
    products = [signs, signs[:, 1:] * signs[:, :-1], signs[1:] * signs[:-1]]
    for product in products:
        assert abs(float(product.sum())) < 5 * product.numel() ** 0.5


def test_literally(weight):
    key = RandomKey(1, 2, 3)
    signs = FixedSign().signs(weight, key).numpy()
    assert set(signs.tolist()) <= {-1, 1}
    dropped = FixedSign().drop(weight, 0.3, key).numpy()
    assert np.array_equal(dropped, signs * np.sign(weight.values.detach().numpy()) == -1)


def test_deep_rewiring_keeps_every_sign(weight_of):
    weight = weight_of(torch.randn(30), 8, 8)
    rule, key = FixedSign(), RandomKey(7, 0, 0)
    with torch.no_grad():
        weight.values.copy_(weight.values.abs() * rule.signs(weight, key))
    assert not rule.drop(weight, 0.3, key).any()
    rewiring = Dynamic(weight, None, prune=rule, grow=Uniform(), every=1, seed=7)
    moved = 0
    for _ in range(50):
        with torch.no_grad():
            weight.values += 0.2 * torch.randn(30)
        moved += int(rule.drop(weight, 0.3, key).sum())
        rewiring.step()
        assert weight.nnz == 30
        assert (rule.signs(weight, key) * weight.values >= 0).all()
    assert_valid(weight)
    assert moved > 30


def test_nan_is_named(with_nan):
    with pytest.raises(ValueError, match="NaN at link 4"):
        FixedSign().drop(with_nan, 0.3, RandomKey(0))
