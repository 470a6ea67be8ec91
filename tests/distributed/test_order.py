"""Orders of units in which ranks read few units of each other."""

import itertools

import numpy as np
import pytest
import torch

from sparse_engine.distributed import partition
from sparse_engine.nn import SparseWeight

pytest.importorskip("mtkahypar", reason="the extra distributed is not installed")


def modular(units, modules, inside, outside, gates=1, seed=0):
    """A network of modules whose units are not neighbours."""
    generator = torch.Generator().manual_seed(seed)
    module = torch.arange(units) % modules
    same = module[:, None] == module
    chance = torch.where(same, inside, outside).repeat(gates, 1)
    return SparseWeight.from_dense(
        torch.ones(gates * units, units), torch.rand(chance.shape, generator=generator) < chance
    )


def volume(weight, units, bounds):
    """Rows that ranks receive, counted row by row."""
    count, received = weight.shape[1], 0
    dense = weight.to_dense().detach().view(-1, count, count).sum(0).numpy() > 0
    dense = dense[np.ix_(units, units)]
    for begin, end in itertools.pairwise(bounds):
        read = dense[begin:end].any(0)
        read[begin:end] = False
        received += int(read.sum())
    return received


@pytest.mark.parametrize(("ranks", "gates"), [(2, 1), (3, 1), (2, 3)])
def test_modules_come_together(ranks, gates):
    weight = modular(240, 12, 0.5, 0.001, gates)
    order = partition(weight, ranks)
    assert torch.equal(order.units.sort().values, torch.arange(240))
    assert order.bounds[0] == 0 and order.bounds[-1] == 240 and len(order.bounds) == ranks + 1
    assert order.halo == volume(weight, order.units.numpy(), order.bounds)
    assert order.halo < 0.5 * order.contiguous_halo
    links = weight.fan_in().view(gates, 240).sum(0)[order.units]
    shares = [int(links[a:b].sum()) for a, b in zip(order.bounds, order.bounds[1:], strict=False)]
    assert max(shares) < 1.1 * sum(shares) / ranks
    assert f"{order.halo:,} rows from other ranks" in str(order)
    again = partition(weight, ranks)
    assert torch.equal(again.units, order.units)


def test_the_connectome_of_a_larva(data):
    pre, post, _ = np.loadtxt(data / "larva" / "edges.txt", unpack=True)
    ids = np.unique([pre, post])
    rows, columns = (torch.from_numpy(np.searchsorted(ids, each)) for each in (post, pre))
    weight = SparseWeight.from_coo(rows, columns, torch.ones(len(rows)), (len(ids), len(ids)))
    order = partition(weight, 4)
    assert order.halo < 0.5 * order.contiguous_halo


@pytest.mark.parametrize(
    ("given", "message"),
    [({"ranks": 1}, "ranks of at least 2"), ({"ranks": 2, "imbalance": 0.0}, "above 0")],
)
def test_settings_that_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        partition(modular(24, 2, 0.5, 0.1), **given)
