"""Averages of models of several ranks whose links differ."""

import pytest
import torch
from on_ranks import on_ranks
from torch import distributed, nn

from sparse_engine.distributed import average_links
from sparse_engine.nn import SparseLinear
from sparse_engine.topology import SET


def model_of(rank):
    generator = torch.Generator().manual_seed(rank)
    layer = SparseLinear(20, 12, density=0.2, generator=generator, dtype=torch.float64)
    nn.init.normal_(layer.bias, generator=generator)
    return layer


def averaged(rank):
    model = model_of(rank)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    links = model.weight.pattern.links.positions().clone()
    optimizer.state[model.weight.values]["momentum_buffer"] = links.double() + 1
    values = model.weight.values
    average_links(model, optimizer)
    assert model.weight.values is values
    momentum = optimizer.state[values]["momentum_buffer"]
    return model.weight.to_dense().detach(), model.bias.detach(), links, momentum


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_largest_of_the_mean_over_the_union_stay(ranks, tmp_path):
    found = on_ranks(tmp_path, ranks, averaged)
    models = [model_of(rank) for rank in range(ranks)]
    dense = torch.stack([each.weight.to_dense().detach() for each in models]).mean(0)
    bound = dense.abs().flatten().sort(descending=True).values[models[0].weight.nnz - 1]
    wanted = dense.where(dense.abs() >= bound, 0)
    assert int((wanted != 0).sum()) == models[0].weight.nnz < int((dense != 0).sum())
    for weight, bias, links, momentum in found:
        torch.testing.assert_close(weight, wanted)
        assert torch.equal(weight, found[0][0]) and torch.equal(bias, found[0][1])
        torch.testing.assert_close(bias, torch.stack([each.bias for each in models]).mean(0))
        positions = weight.flatten().nonzero().squeeze(1)
        kept = torch.isin(positions, links)
        assert 0 < kept.sum() < len(kept)
        assert torch.equal(momentum, torch.where(kept, positions.double() + 1, 0.0))


def trained(rank):
    """Local steps on parts of the data, with links of a rank's own, averaged now and then."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 20, generator=generator, dtype=torch.float64)
    y = x[:, :12] - x[:, 8:]
    model = model_of(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rewiring = SET(model, optimizer, every=10, seed=rank)
    rewiring.process_group = distributed.new_subgroups(group_size=1)[0]
    first = nn.functional.mse_loss(model(x), y).item()
    part, apart = slice(rank, None, 2), 0
    for step in range(200):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[part]), y[part]).backward()
        optimizer.step()
        rewiring.step()
        if step % 50 == 49:
            before = model.weight.pattern.links.positions().clone()
            average_links(model, optimizer)
            apart += not torch.equal(before, model.weight.pattern.links.positions())
    return first, nn.functional.mse_loss(model(x), y).item(), apart, model.state_dict()


def test_ranks_train_and_rewire_alone_in_between(tmp_path):
    one, other = on_ranks(tmp_path, 2, trained)
    first, last, apart, state = one
    assert apart and last < 0.5 * first
    assert all(torch.equal(each, other[3][name]) for name, each in state.items())
