"""A network that is trained and rewired under DistributedDataParallel."""

import copy

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from sparse_engine.nn import SparseLSTM
from sparse_engine.testing import assert_valid
from sparse_engine.topology import Dynamic, Magnitude, Uniform

DEVICES = [pytest.param("cpu", id="on_cpu")]
if torch.cuda.is_available():
    DEVICES += [pytest.param("cuda", id="on_device")]


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
    rule = Dynamic(layer, optimizer, prune=Magnitude(), grow=Uniform(), every=1)
    for _ in range(2):
        optimizer.zero_grad()
        network(x)[0].square().mean().backward()
        optimizer.step()
        rule.step()


@pytest.mark.cpu
@pytest.mark.parametrize("where", DEVICES)
def test_trains_and_rewires_as_without(alone, where):
    plain = SparseLSTM(5, 40, density=0.1).to(where)
    wrapped = copy.deepcopy(plain)
    before = plain.weight_hh_l0.col_indices.clone()
    x = torch.randn(6, 3, 5, device=where)
    train(plain, plain, x)
    train(DistributedDataParallel(wrapped), wrapped, x)
    assert not torch.equal(plain.weight_hh_l0.col_indices, before)
    assert_valid(wrapped.weight_hh_l0)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(wrapped.state_dict()[name], tensor), name
