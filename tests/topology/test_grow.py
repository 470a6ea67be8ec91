"""Growth: uniform over the absent cells, and what new links start with."""

import pytest
import torch
from scipy.stats import chisquare

from sparse_engine.ops import RandomKey, sample_absent
from sparse_engine.topology import SET, Dynamic, Magnitude, Normal, Prune, Uniform


class DropFirst(Prune):
    """Always the same links, so that the same cells are absent."""

    def drop(self, weight, fraction, key):
        return torch.arange(weight.nnz) < int(fraction * weight.nnz)


@pytest.mark.parametrize("vary", ["seed", "step"])
def test_new_links_are_uniform_over_absent_cells_and_uncorrelated(vary, weight_of):
    hits, pairs = torch.zeros(30), torch.zeros(30, 30)
    start = weight_of(torch.ones(12), 5, 6)
    kept = start.pattern.links.cells()[6:]
    for number in range(3000):
        weight = weight_of(torch.ones(12), 5, 6)
        rule = Dynamic(weight, None, prune=DropFirst(), grow=Uniform(), fraction=0.5, every=1)
        rule.seed, rule.steps = (number, 0) if vary == "seed" else (0, number)
        rule.step()
        born = (weight.values.detach() == 0).float()
        grown = weight.pattern.dense(born).flatten()
        hits += grown
        pairs += torch.outer(grown, grown)
    assert hits[kept].sum() == 0
    free = torch.ones(30, dtype=torch.bool)
    free[kept] = False
    # 24 cells, of which 6 are drawn: 99.99 % below 58. 276 pairs: 99.99 % below 370.
    assert chisquare(hits[free]).statistic / (1 - 6 / 24) < 58
    together = pairs[free][:, free][tuple(torch.triu_indices(24, 24, 1))]
    assert chisquare(together).statistic < 370


def test_uniform_draws_from_the_kept_links_complement(weight_of):
    weight = weight_of(torch.randn(12), 5, 6)
    kept = weight_of(torch.randn(7), 5, 6, seed=1).pattern.links
    key = RandomKey(3, 4, 5)
    cells = Uniform().grow(weight, kept, 9, key)
    assert torch.equal(cells, sample_absent(kept, 9, key))


def test_the_weights_of_a_model_and_its_steps_have_streams_of_their_own(weight_of):
    model = torch.nn.ModuleList(weight_of(torch.randn(50), 20, 20) for _ in range(3))
    before = model[0].col_indices.clone()
    rule = SET(model, None, fraction=1.0, every=1)
    wirings = set()
    for _ in range(3):
        rule.step()
        wirings |= {tuple(weight.col_indices.tolist()) for weight in model}
    assert len(wirings) == 9
    assert tuple(before.tolist()) not in wirings


def test_a_seed_determines_everything(weight_of):
    def run(seed):
        weight = weight_of(torch.linspace(-1, 1, 50), 20, 20)
        rule = SET(weight, None, fraction=0.5, every=1, seed=seed, birth=Normal(0.1))
        for _ in range(5):
            rule.step()
        return torch.cat([weight.pattern.links.cells().double(), weight.values.double()])

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_birth(dtype, weight_of):
    weight = weight_of(torch.ones(20_000, dtype=dtype), 400, 400)
    SET(weight, None, fraction=0.5, every=1, birth=Normal(0.1)).step()
    values = weight.values.detach()
    born = values[values != 1].double()
    # 10,000 draws: five standard deviations of their mean and of their spread.
    assert born.numel() == 10_000
    assert born.mean().abs() < 5 * 0.1 / 100
    assert (born.std() - 0.1).abs() < 5 * 0.1 / 141


def test_a_cell_that_was_just_emptied_counts_as_absent(weight_of):
    weight = weight_of(torch.ones(9), 3, 3)
    Dynamic(weight, None, prune=Magnitude(), grow=Uniform(), fraction=0.5, every=1).step()
    assert weight.nnz == 9 and int((weight.values == 0).sum()) == 4
