"""A network that is trained and rewired under DistributedDataParallel, and under fully_shard."""

import copy
from functools import partial

import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from sparse_engine.nn import SparseLSTM, SparseWeight
from sparse_engine.topology import (
    SET,
    ErdosRenyi,
    GradualPruning,
    Magnitude,
    RandomGrowth,
    Rewiring,
    wire,
)


@pytest.fixture
def alone(tmp_path):
    """A group of this process only."""
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def train(network, layer, x):
    """Two steps of ``network``, behind each of which the links of ``layer`` are rewired."""
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    rule = Rewiring(layer, optimizer, prune=Magnitude(), grow=RandomGrowth(), every=1)
    for _ in range(2):
        optimizer.zero_grad()
        network(x)[0].square().mean().backward()
        optimizer.step()
        rule.step()


@pytest.mark.cpu
@pytest.mark.parametrize(
    "method", [partial(SET, every=1), partial(GradualPruning, every=1, density=0.05, last=2)]
)
def test_sharded_networks_are_rewired(alone, method):
    """With as many links as before, and with fewer, for which torch has to shard anew."""
    plain = SparseLSTM(5, 40, density=0.1)
    sharded, x = copy.deepcopy(plain), torch.randn(6, 3, 5)
    fully_shard(sharded, mesh=init_device_mesh("cpu", (1,)))
    for network in (plain, sharded):
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        rule = method(network, optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            network(x)[0].square().mean().backward()
            optimizer.step()
            with torch.no_grad():
                network(x)  # leaves whole parameters in the sharded network
            rule.step()
        assert network.weight_hh_l0.values is rule.weights[0].values
        assert network.weight_hh_l0.values in optimizer.state
    assert torch.equal(sharded.weight_hh_l0.values.full_tensor(), plain.weight_hh_l0.values)
    assert torch.equal(sharded.weight_hh_l0.col_indices, plain.weight_hh_l0.col_indices)
    assert torch.equal(sharded(x)[0], plain(x)[0])


@pytest.mark.cpu
def test_sharded_networks_refuse_another_wiring(alone):
    sharded = SparseLSTM(5, 40, density=0.1)
    col = sharded.weight_hh_l0.col_indices.clone()
    fully_shard(sharded, mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(ValueError, match=r"expected all values of SparseWeight.*fully_shard"):
        wire(sharded, ErdosRenyi(density=0.2))
    assert torch.equal(sharded.weight_hh_l0.col_indices, col)


@pytest.mark.cpu
def test_sparse_weights_that_are_not_sharded_are_rewired(alone):
    plain = SparseLSTM(5, 40, density=0.1)
    sharded, x = copy.deepcopy(plain), torch.randn(6, 3, 5)
    weights = [each for each in sharded.modules() if isinstance(each, SparseWeight)]
    whole = {values for weight in weights for values in weight.parameters()}
    fully_shard(sharded, mesh=init_device_mesh("cpu", (1,)), ignored_params=whole)
    train(plain, plain, x)
    train(sharded, sharded, x)
    assert torch.equal(sharded.weight_hh_l0.values, plain.weight_hh_l0.values)
    assert torch.equal(sharded(x)[0], plain(x)[0])
