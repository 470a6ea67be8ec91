"""Averages of a rewired model are those of its dense matrix, entry by entry."""

import pytest
import torch
from testing import assert_valid
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from sparse_engine.nn import SparseLinear, SparseLTC, SparseWeight
from sparse_engine.optim import AveragedLinks
from sparse_engine.topology import DSR, SET, GradualPruning, NormalInit


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = SparseLTC(4, 20, density=0.3)
        self.norm = nn.BatchNorm1d(20)
        self.head = SparseLinear(20, 3, density=0.3)

    def forward(self, x):
        return self.head(self.norm(self.rnn(x)[0][-1]))


METHODS = {
    "SET": lambda m, o, **k: SET(m, o, every=2, new_links=NormalInit(0.1), **k),
    "DSR": lambda m, o, **k: DSR(m, o, every=2, threshold=0.05, **k),
    "GradualPruning": lambda m, o, **k: GradualPruning(
        m, o, density=0.1, first=0, last=20, every=2, **k
    ),
}

#: The next average of an entry from the last, its value, and the number of averages so far.
AVERAGES = {
    "ema": ({"multi_avg_fn": get_ema_multi_avg_fn(0.9)}, lambda a, w, n: 0.9 * a + 0.1 * w),
    "swa": ({}, lambda a, w, n: (n * a + w) / (n + 1)),
}


def dense_of(model):
    """Every weight as a matrix, with nan where there is no link."""
    found = {}
    for name, weight in model.named_modules():
        if isinstance(weight, SparseWeight):
            at = (weight.pattern.links.positions(),)
            for each in weight.link_parameters:
                blank = torch.full((weight.shape[0] * weight.shape[1],), torch.nan)
                found[name, each] = blank.index_put(at, getattr(weight, each).detach())
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", AVERAGES)
def test_averages_of_a_dense_matrix(kind, method):
    options, mean = AVERAGES[kind]
    model = Network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    averaged = AveragedModel(model, **options)
    born = {}

    def note(name, weight, rewired):
        born[name] = weight.pattern.links.positions()[rewired.born.long()]

    observers = (note, AveragedLinks(model, averaged))
    rewiring = METHODS[method](model, optimizer, observers=observers)
    expected = {}
    for n in range(12):
        optimizer.zero_grad()
        model(torch.randn(5, 6, 4)).square().mean().backward()
        optimizer.step()
        if rewiring.step():
            for key, now in dense_of(model).items():
                expected[key] = torch.where(now.isnan(), torch.nan, expected[key])
                expected[key][born[key[0]]] = now[born[key[0]]]
        averaged.update_parameters(model)
        for key, now in dense_of(model).items():
            expected[key] = mean(expected[key], now, n) if n else now
        found = dense_of(averaged.module)
        torch.testing.assert_close(found, expected, equal_nan=True)
    assert any(map(len, born.values())) == (method != "GradualPruning")
    for weight in averaged.modules():
        if isinstance(weight, SparseWeight):
            assert_valid(weight)
    update_bn([torch.randn(5, 6, 4)], averaged)
    SET(model, None).rewire()
    torch.testing.assert_close(dense_of(averaged.module), found, equal_nan=True)


def test_averages_that_cannot_follow():
    model = Network()
    with pytest.raises(ValueError, match="use_buffers=False"):
        AveragedLinks(model, AveragedModel(model, use_buffers=True))
    averaged = AveragedModel(model)
    with pytest.raises(ValueError, match=r"expected averages of module\.rnn"):
        AveragedLinks(nn.ModuleDict({"module": model}), averaged)
    SET(model, None).rewire()
    with pytest.raises(ValueError, match="with the same links"):
        AveragedLinks(model, averaged)
