"""Keys of random numbers: other keys give other numbers, equal keys the same ones anywhere."""

from itertools import product

import numpy as np
import torch

from sparse_engine.ops import RandomKey, Use

EDGES = (0, 1, 2, 2**31, 2**32 - 1)
SEEDS = (*EDGES, 2**32, 2**32 + 1, 2**61 - 2, 2**61 - 1, 2**61, 2**63 - 1, -1, -2, -(2**63))
KEYS = [RandomKey(*parts) for parts in product(SEEDS, EDGES, EDGES)]


def test_other_keys_give_other_numbers():
    drawn = {tuple(key.generator(use).random(2)) for key in KEYS for use in (0, 1, 9, 2**32 - 1)}
    assert len(drawn) == 4 * len(KEYS)
    drawn = {tuple(torch.rand(2, generator=key.torch_generator(0)).tolist()) for key in KEYS}
    assert len(drawn) == len(KEYS)


def test_no_word_of_a_seed_is_taken_for_a_step():
    one, other = RandomKey(1, 5, 7), RandomKey(1 + 5 * 2**32, 7, 0)
    assert one.generator(0).random() != other.generator(0).random()


def test_equal_keys_give_these_numbers_anywhere():
    generator = RandomKey(2**61 - 1, 3, 4).generator(Use.NEW_LINKS)
    assert generator.integers(2**63, size=2).tolist() == [5775720280272188915, 5205102232360663834]
    assert isinstance(generator.bit_generator, np.random.Philox)
