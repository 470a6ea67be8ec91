"""Sign patterns."""

import pytest
import torch
from testing import awkward_patterns, random_pattern

from sparse_engine.ops import RandomKey
from sparse_engine.topology import Dale, RandomSigns, SignInit
from sparse_engine.topology.init.wiring import signed

PATTERNS = awkward_patterns()


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_random_signs_are_exact(name, share):
    links = PATTERNS[name].links
    signs = RandomSigns(share).signs(links, RandomKey(3))
    assert signs.shape == (links.nnz,)
    assert (signs == 1).sum() == round(share * links.nnz)
    assert (signs == -1).sum() == links.nnz - round(share * links.nnz)


@pytest.mark.parametrize("share", [0.0, 0.37, 0.8, 1.0])
def test_dale_gives_every_column_one_sign(share):
    links = random_pattern(60, 50, 60 * 50).links
    matrix = Dale(share).signs(links, RandomKey(3)).reshape(60, 50)
    assert (matrix == matrix[0]).all()
    assert (matrix[0] == 1).sum() == round(share * 50)
    assert (matrix[0] == -1).sum() == 50 - round(share * 50)


def test_dale_gives_a_unit_one_sign_in_all_weights():
    one, other = random_pattern(60, 50, 900).links, random_pattern(7, 50, 350).links
    dense = Dale().signs(other, RandomKey(1, 0, 4)).reshape(7, 50)
    assert torch.equal(Dale().signs(one, RandomKey(1, 0, 3)), dense[0, one.col.long()])
    assert not torch.equal(Dale().signs(other, RandomKey(2)).reshape(7, 50)[0], dense[0])


class TooFew(SignInit):
    def signs(self, links, key):
        return torch.ones(links.nnz - 1)


def test_wrong_signs():
    with pytest.raises(ValueError, match=r"expected 10 signs from .* found shape \[9\]"):
        signed(torch.randn(10), random_pattern(5, 5, 10).links, TooFew(), RandomKey(0))
